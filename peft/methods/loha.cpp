#include <ATen/ATen.h>

#include <memory>

#include "model/matmul.h"
#include "peft/methods/kinds.h"
#include "peft/parts/patterns.h"
#include "peft/parts/weight_change.h"

namespace dtrain::peft {
namespace {

using model::Linear;
using model::Parameter;

/// PEFT's LoHaConfig.
struct LohaConfig {
  Ranks ranks;
  bool init_weights = true;
  ChangeDropout dropout;
  Wrapping wrapping;
};

class LohaSlot final : public WeightChangeSlot {
 public:
  LohaSlot(const Linear& base, const LohaConfig& config, at::Generator& generator)
      : LohaSlot(base, config, config.ranks.rank_of(base.path()), generator) {}

  std::vector<Parameter*> parameters() override { return {&a1_, &b1_, &a2_, &b2_}; }

 protected:
  at::Tensor change(model::ForwardContext& context) override {
    return model::matmul(a1_.use(), b1_.use(), context) * model::matmul(a2_.use() * scale_, b2_.use(), context);
  }

 private:
  LohaSlot(const Linear& base, const LohaConfig& config, std::int64_t r, at::Generator& generator)
      : WeightChangeSlot(config.dropout),
        // PEFT rounds it to float.
        scale_(static_cast<float>(config.ranks.alpha_of(base.path()) / static_cast<double>(r))),
        a1_(base.path() + ".hada_w1_a", draw_uniform(base.out_features(), r, base.weight.value(), generator)),
        b1_(base.path() + ".hada_w1_b", draw_uniform(r, base.in_features(), base.weight.value(), generator)),
        a2_(base.path() + ".hada_w2_a", draw_uniform(base.out_features(), r, base.weight.value(), generator)),
        b2_(base.path() + ".hada_w2_b", draw_uniform(r, base.in_features(), base.weight.value(), generator)) {
    if (config.init_weights) b2_.set_value(at::zeros_like(b2_.value()));
    for (Parameter* parameter : parameters()) parameter->set_trainable(true);
  }

  double scale_;
  Parameter a1_;
  Parameter b1_;
  Parameter a2_;
  Parameter b2_;
};

class Loha final : public LinearMethod {
 public:
  explicit Loha(LohaConfig config) : LinearMethod("loha", "LOHA", config.wrapping), config_(std::move(config)) {}

 protected:
  void fill(const std::vector<Linear*>& linears, at::Generator& generator) const override {
    config_.ranks.check(paths_of(linears), name());
    for (Linear* linear : linears) linear->slot = std::make_unique<LohaSlot>(*linear, config_, generator);
  }

  void describe(nlohmann::json& config, const std::vector<Linear*>& linears) const override {
    write_peft_ranks(config, "alpha", config_.ranks, paths_of(linears));
    write_change_dropout(config, config_.dropout);
    config["init_weights"] = config_.init_weights;
  }

 private:
  LohaConfig config_;
};

MethodSpec read_loha_config(const AdapterConfig& config, model::Classifier& classifier) {
  MethodSpec spec{"loha", {}};
  read_peft_ranks(config, "alpha", read_peft_wrapping(config, classifier, false, spec), spec);
  read_peft_settings(config, {"rank_dropout", "module_dropout"}, spec);
  return spec;
}

FileKeys loha_keys() {
  return joined({wrapping_keys(false),
                 rank_keys("alpha"),
                 heeded_keys({"rank_dropout", "module_dropout"}),
                 {{"init_weights", KeyUse::no_effect, "the file holds the weights"}},
                 {{"use_effective_conv2d", KeyUse::noted, "the model has no convolutions"}}});
}

}  // namespace

MethodKind loha_kind() {
  return {
      .name = "loha",
      .family = "reparametrization",
      .summary = "updates that are products, element by element, of two low-rank ones train",
      .paper = "Hyeon-Woo et al., 2022, ICLR",
      .learning_rates = {1.5e-3, 5e-3, 1.5e-2},
      .settings = with_wrapping(
          with_ranks(with_change_dropout({{"init_weights", "true", "start from no change; false: from a random one"}}),
                     "alpha"),
          ""),
      .make = [](const MethodSettings& settings) -> std::unique_ptr<Method> {
        return std::make_unique<Loha>(LohaConfig{.ranks = read_ranks(settings, "alpha", settings.largest_size()),
                                                 .init_weights = settings.boolean("init_weights"),
                                                 .dropout = read_change_dropout(settings),
                                                 .wrapping = read_wrapping(settings, "")});
      },
      .peft_type = "LOHA",
      .read_peft = read_loha_config,
      .peft_keys = loha_keys()};
}

}  // namespace dtrain::peft
