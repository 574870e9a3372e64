#include "peft/methods/kinds.h"

namespace dtrain::peft {
namespace {

constexpr const char* kHeadShare = "head_share";
constexpr const char* kHeadRate = "head_learning_rate";

class LpFt final : public Method {
 public:
  LpFt(double head_share, double head_learning_rate)
      : head_share_(head_share), head_learning_rate_(head_learning_rate) {}

  void attach(model::Classifier& classifier, const AttachContext&) const override { train_head(classifier); }
  bool changes_whole_model() const override { return true; }

  std::vector<Phase> phases(const model::Classifier&) const override {
    return {{.share = head_share_, .learning_rate = head_learning_rate_}, {.share = 1 - head_share_}};
  }
  void enter_phase(model::Classifier& classifier, int) const override { train_stages_from(classifier, 0); }

 private:
  double head_share_;
  double head_learning_rate_;
};

class Gradual final : public Method {
 public:
  Gradual(double unfreezing_share, double head_learning_rate)
      : unfreezing_share_(unfreezing_share), head_learning_rate_(head_learning_rate) {}

  void attach(model::Classifier& classifier, const AttachContext&) const override { train_head(classifier); }
  bool changes_whole_model() const override { return true; }

  /// One of the head, one of each layer, and one of everything.
  std::vector<Phase> phases(const model::Classifier& classifier) const override {
    const auto partial = static_cast<std::size_t>(classifier.config().layers) + 1;
    std::vector<Phase> phases(partial, {.share = unfreezing_share_ / static_cast<double>(partial)});
    phases.front().learning_rate = head_learning_rate_;
    phases.push_back({.share = 1 - unfreezing_share_});
    return phases;
  }
  void enter_phase(model::Classifier& classifier, int phase) const override {
    train_stages_from(classifier, classifier.head_stage() - phase);
  }

 private:
  double unfreezing_share_;
  double head_learning_rate_;
};

}  // namespace

MethodKind lp_ft_kind() {
  return {.name = "lp-ft",
          .family = "freezing",
          .summary = "the classifier trains, then every weight",
          .paper = "Kumar et al., 2022, ICLR",
          .learning_rates = {5e-5, 1.5e-4, 5e-4},
          .settings = {{kHeadShare, "0.3", "share of the steps in which the classifier trains alone"},
                       {kHeadRate, "0.01", "learning rate of these steps"}},
          .make = [](const MethodSettings& settings) -> std::unique_ptr<Method> {
            return std::make_unique<LpFt>(settings.number(kHeadShare, 0, 1), settings.number(kHeadRate, 0, 1));
          }};
}

MethodKind gradual_kind() {
  return {.name = "gradual",
          .family = "freezing",
          .summary = "the classifier trains, then one more layer at a time from the top",
          .paper = "Howard and Ruder, 2018, ACL",
          .learning_rates = {5e-5, 1.5e-4, 5e-4},
          .settings = {{"unfreezing_share", "0.5", "share of the steps until everything trains"},
                       {kHeadRate, "0.01", "learning rate while the classifier trains alone"}},
          .make = [](const MethodSettings& settings) -> std::unique_ptr<Method> {
            return std::make_unique<Gradual>(settings.number("unfreezing_share", 0, 1),
                                             settings.number(kHeadRate, 0, 1));
          }};
}

}  // namespace dtrain::peft
