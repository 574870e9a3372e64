#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/nearest_name.h"
#include "peft/methods/kinds.h"
#include "peft/parts/targets.h"

namespace dtrain::peft {
namespace {

constexpr const char* kBias = ".bias";

class BitFit final : public Method {
 public:
  explicit BitFit(std::vector<std::string> terms) : terms_(std::move(terms)) {}

  void attach(model::Classifier& classifier, const AttachContext&) const override {
    if (terms_.empty()) {
      throw UsageError("method 'bitfit': bias_terms is empty; expected names of modules with a bias, or all");
    }
    if (terms_ == std::vector<std::string>{"all"}) {
      train_biases(classifier, "all", {});
    } else {
      for (const std::string& term : terms_) train_term(classifier, term);
    }
    train_head(classifier);
  }

 private:
  static void train_term(model::Classifier& classifier, const std::string& term) {
    bool found = false;
    std::vector<std::string> modules;
    for (model::Parameter* parameter : classifier.parameters()) {
      if (!parameter->name().ends_with(kBias)) continue;
      modules.push_back(parameter->name().substr(0, parameter->name().size() - std::string(kBias).size()));
      if (!matches_path(modules.back(), term)) continue;
      parameter->set_trainable(true);
      found = true;
    }
    if (!found) {
      const auto names = last_parts(modules);
      throw UsageError(fmt::format("method 'bitfit': no module with a bias ends with bias_terms '{}'{}; there are: {}",
                                   term, did_you_mean(term, names), fmt::join(names, ", ")));
    }
  }

  std::vector<std::string> terms_;
};

}  // namespace

MethodKind bitfit_kind() {
  return {
      .name = "bitfit",
      .family = "freezing",
      .summary = "all biases and the classifier train",
      .paper = "Ben Zaken et al., 2022, ACL",
      .learning_rates = {1e-3, 3e-3, 1e-2},
      .settings = {{"bias_terms", "all", "modules whose biases train, joined by +, such as query+intermediate.dense"}},
      .make = [](const MethodSettings& settings) -> std::unique_ptr<Method> {
        return std::make_unique<BitFit>(settings.list("bias_terms"));
      }};
}

}  // namespace dtrain::peft
