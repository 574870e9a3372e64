#include <fmt/format.h>

#include "base/error.h"
#include "peft/methods/kinds.h"

namespace dtrain::peft {
namespace {

class Full final : public Method {
 public:
  void attach(model::Classifier& classifier, const AttachContext&) const override { train_stages_from(classifier, 0); }
  bool changes_whole_model() const override { return true; }
};

class Head final : public Method {
 public:
  void attach(model::Classifier& classifier, const AttachContext&) const override { train_head(classifier); }
};

class Layers final : public Method {
 public:
  explicit Layers(std::int64_t count) : count_(count) {}

  void attach(model::Classifier& classifier, const AttachContext&) const override {
    const int layers = classifier.encoder().layers();
    if (count_ > layers) {
      throw UsageError(fmt::format("method 'layers': k is {}, but the model has {} layers", count_, layers));
    }
    train_stages_from(classifier, classifier.head_stage() - static_cast<int>(count_));
  }

 private:
  std::int64_t count_;
};

}  // namespace

MethodKind full_kind() {
  return {"full",
          "freezing",
          "every weight trains",
          "Devlin et al., 2019, NAACL",
          {5e-5, 1.5e-4, 5e-4},
          {},
          [](const MethodSettings&) -> std::unique_ptr<Method> { return std::make_unique<Full>(); }};
}

MethodKind head_kind() {
  return {"head",
          "freezing",
          "frozen body, the classifier trains",
          "Peters et al., 2019, RepL4NLP",
          {3e-3, 1e-2, 3e-2},
          {},
          [](const MethodSettings&) -> std::unique_ptr<Method> { return std::make_unique<Head>(); }};
}

MethodKind layers_kind() {
  return {"layers",
          "freezing",
          "the top k layers and the classifier train",
          "Lee et al., 2019, arXiv:1911.03090",
          {5e-5, 1.5e-4, 5e-4},
          {{"k", "2", "how many layers from the top train"}},
          [](const MethodSettings& settings) -> std::unique_ptr<Method> {
            return std::make_unique<Layers>(settings.integer("k", 1));
          }};
}

}  // namespace dtrain::peft
