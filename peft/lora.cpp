#include "peft/lora.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/nearest_name.h"
#include "model/dropout.h"

namespace dtrain::peft {
namespace {

class LoraSlot final : public model::LinearSlot {
 public:
  LoraSlot(const model::Linear& base, const LoraConfig& config, at::Generator& generator)
      : dropout_(config.lora_dropout), scale_(config.lora_alpha / static_cast<double>(config.r)) {
    a_.set_name(base.path() + ".lora_A.weight");
    b_.set_name(base.path() + ".lora_B.weight");
    const auto options = base.weight.value().options();
    // torch's kaiming_uniform_ with a = sqrt(5), which PEFT calls.
    const double bound = 1 / std::sqrt(static_cast<double>(base.in_features()));
    a_.set_value(at::empty({config.r, base.in_features()}).uniform_(-bound, bound, generator).to(options));
    b_.set_value(at::zeros({base.out_features(), config.r}, options));
    a_.set_trainable(true);
    b_.set_trainable(true);
  }

  at::Tensor forward(model::Linear& base, const at::Tensor& input, model::ForwardContext& context) override {
    const auto output = base.base_forward(input, context);
    const auto low =
        model::linear(model::dropout(input, context.next_dropout(dropout_)), a_, nullptr, context.product_type);
    return model::linear(low, b_, nullptr, context.product_type, scale_, output);
  }

  std::vector<model::Parameter*> parameters() override { return {&a_, &b_}; }

  at::Tensor weight_change() const { return at::mm(b_.value(), a_.value()).mul_(scale_); }

 private:
  double dropout_;
  double scale_;
  model::Parameter a_;
  model::Parameter b_;
};

class Lora final : public Method {
 public:
  explicit Lora(LoraConfig config) : config_(std::move(config)) {}

  void attach(model::Classifier& classifier, std::uint64_t seed) const override {
    auto generator = at::detail::createCPUGenerator(seed);
    const auto targets = target_linears(classifier);
    for (model::Linear* linear : targets) {
      linear->slot = std::make_unique<LoraSlot>(*linear, config_, generator);
      if (config_.bias == "lora_only") linear->bias.set_trainable(true);
    }
    if (config_.bias == "all") {
      for (model::Parameter* parameter : classifier.parameters()) {
        if (parameter->name().ends_with(".bias")) parameter->set_trainable(true);
      }
    }
    train_classifier(classifier);
  }

  nlohmann::json adapter_config(model::Classifier& classifier, const std::string& base_model) const override {
    nlohmann::json config;
    config["peft_type"] = "LORA";
    config["task_type"] = "SEQ_CLS";
    config["base_model_name_or_path"] = base_model;
    config["inference_mode"] = true;
    config["r"] = config_.r;
    config["lora_alpha"] = config_.lora_alpha == std::floor(config_.lora_alpha)
                               ? nlohmann::json(static_cast<std::int64_t>(config_.lora_alpha))
                               : nlohmann::json(config_.lora_alpha);
    config["lora_dropout"] = config_.lora_dropout;
    config["target_modules"] = config_.target_modules;
    if (all_linear() || names_unused_pooler(classifier)) {
      // Each map by its path, as PEFT writes "all-linear": it would find the pooler, too.
      config["target_modules"] = nlohmann::json::array();
      for (const model::Linear* linear : target_linears(classifier)) config["target_modules"].push_back(linear->path());
    }
    config["bias"] = config_.bias;
    config["fan_in_fan_out"] = false;
    config["init_lora_weights"] = true;
    config["use_rslora"] = false;
    config["use_dora"] = false;
    config["modules_to_save"] = {"classifier", "score"};
    if (classifier.pooler_is_new) config["modules_to_save"].push_back("pooler");
    return config;
  }

  void merge(model::Classifier& classifier) const override {
    const at::NoGradGuard no_grad;
    for (model::Linear* linear : classifier.linears()) {
      const auto* slot = dynamic_cast<const LoraSlot*>(linear->slot.get());
      if (slot == nullptr) continue;
      linear->weight.set_value(linear->weight.value() + slot->weight_change());
      linear->slot.reset();
    }
  }

 private:
  bool all_linear() const { return config_.target_modules == std::vector<std::string>{"all-linear"}; }

  bool names_unused_pooler(model::Classifier& classifier) const {
    const auto linears = classifier.linears();
    return std::find(linears.begin(), linears.end(), &classifier.pooler) == linears.end() &&
           std::any_of(config_.target_modules.begin(), config_.target_modules.end(),
                       [&](const std::string& target) { return matches(classifier.pooler, target); });
  }

  std::vector<model::Linear*> target_linears(model::Classifier& classifier) const {
    const auto linears = classifier.linears();
    if (all_linear()) return linears;
    std::vector<model::Linear*> targets;
    std::vector<std::string> unmatched;
    for (const std::string& target : config_.target_modules) {
      bool matched = false;
      for (model::Linear* linear : linears) matched = matched || matches(*linear, target);
      if (!matched) unmatched.push_back(target);
    }
    if (!unmatched.empty()) {
      std::vector<std::string> names;
      for (const model::Linear* linear : linears) {
        const std::string name = linear->path().substr(linear->path().rfind('.') + 1);
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
      }
      throw UsageError(fmt::format("method 'lora': no module of the model ends with target_modules '{}'{}; it has: {}",
                                   unmatched.front(), did_you_mean(unmatched.front(), names), fmt::join(names, ", ")));
    }
    for (model::Linear* linear : linears) {
      if (std::any_of(config_.target_modules.begin(), config_.target_modules.end(),
                      [&](const std::string& target) { return matches(*linear, target); })) {
        targets.push_back(linear);
      }
    }
    return targets;
  }

  static bool matches(const model::Linear& linear, const std::string& target) {
    return linear.path() == target || linear.path().ends_with("." + target);
  }

  LoraConfig config_;
};

}  // namespace

MethodKind lora_kind() {
  return {"lora",
          "low-rank updates of chosen linear maps train",
          "Hu et al., 2022, ICLR",
          {5e-4, 1.5e-3, 5e-3},
          {{"r", "8", "rank of the update"},
           {"lora_alpha", "8", "the update is scaled by lora_alpha / r"},
           {"lora_dropout", "0", "dropout on the update's input"},
           {"target_modules", "query+value", "names of the linear maps, joined by +, or all-linear"},
           {"bias", "none", "which biases train along: none, all or lora_only"}},
          [](const Settings& settings) -> std::unique_ptr<Method> {
            return make_lora({.r = settings.integer("r", 1),
                              .lora_alpha = settings.number("lora_alpha", 0, 1e6),
                              .lora_dropout = settings.number("lora_dropout", 0, 0.999),
                              .target_modules = settings.list("target_modules"),
                              .bias = settings.choice("bias", {"none", "all", "lora_only"})});
          }};
}

std::unique_ptr<Method> make_lora(const LoraConfig& config) { return std::make_unique<Lora>(config); }

}  // namespace dtrain::peft
