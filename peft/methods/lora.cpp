#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "peft/methods/kinds.h"
#include "peft/parts/linear_method.h"
#include "peft/parts/lora_slot.h"
#include "peft/parts/patterns.h"

namespace dtrain::peft {
namespace {

/// PEFT's LoraConfig: names and defaults as there, but for target_modules, which PEFT takes from a table by
/// architecture.
struct LoraConfig {
  /// Whose alpha is lora_alpha.
  Ranks ranks;
  double lora_dropout = 0;
  /// The update is scaled by lora_alpha / sqrt(r), not lora_alpha / r (Kalajdzievski, 2023, arXiv:2312.03732).
  bool use_rslora = false;
  bool use_dora = false;
  /// LoraUpdate::init.
  std::string init_lora_weights = "true";
  bool lora_bias = false;
  /// LoRA+ (Hayou et al., 2024, ICML): what B, biases and other vectors learn faster by. Not in PEFT's configuration
  /// but a parameter of its create_loraplus_optimizer.
  double loraplus_lr_ratio = 1;
  Wrapping wrapping;
};

// What `config` adds to a linear layer of that path.
LoraUpdate lora_update(const LoraConfig& config, const std::string& path) {
  const std::int64_t r = config.ranks.rank_of(path);
  const auto divisor = static_cast<double>(r);
  return {.r = r,
          .scale = config.ranks.alpha_of(path) / (config.use_rslora ? std::sqrt(divisor) : divisor),
          .dropout = config.lora_dropout,
          .init = config.init_lora_weights,
          .dora = config.use_dora,
          .bias = config.lora_bias};
}

// The words after which PEFT's file is a plain one, however its matrices started.
const std::vector<std::string> kHarmlessInits = {"true", "false", "gaussian", "orthogonal", "eva"};

class Lora final : public LinearMethod {
 public:
  explicit Lora(LoraConfig config) : LinearMethod("lora", "LORA", config.wrapping), config_(std::move(config)) {}

  void attach(model::Classifier& classifier, const AttachContext& context) const override {
    LinearMethod::attach(classifier, context);
    if (config_.loraplus_lr_ratio == 1) return;
    for (model::Parameter* parameter : classifier.parameters()) {
      const bool faster = parameter->name().find("lora_B") != std::string::npos || parameter->value().dim() == 1;
      if (parameter->trainable() && faster) parameter->set_learning_rate_factor(config_.loraplus_lr_ratio);
    }
  }

  /// A slot that changed its base is saved as the plain update on the base as it was, which PEFT loads exactly.
  NamedTensors saved_tensors(model::Classifier& classifier) const override {
    std::map<const model::Parameter*, at::Tensor> plain;
    for (const LoraSlot* slot : slots(wrapped(classifier))) {
      if (!slot->changed_base()) continue;
      plain[&slot->a()] = slot->plain_a();
      plain[&slot->b()] = slot->plain_b();
    }
    NamedTensors tensors;
    for (const auto& [name, parameter] : file_parameters(classifier)) {
      const auto found = plain.find(parameter);
      tensors.emplace_back(name, found == plain.end() ? parameter->value() : found->second);
    }
    return tensors;
  }

 protected:
  void fill(const std::vector<model::Linear*>& linears, at::Generator& generator) const override {
    config_.ranks.check(paths_of(linears), "lora");
    for (model::Linear* linear : linears) {
      linear->slot = std::make_unique<LoraSlot>(*linear, lora_update(config_, linear->path()), generator);
    }
  }

  void describe(nlohmann::json& config, const std::vector<model::Linear*>& linears) const override {
    const bool doubled = slots(linears).front()->changed_base();
    const auto paths = paths_of(linears);
    write_peft_ranks(config, "lora_alpha", doubled ? plain_ranks(paths) : config_.ranks, paths);
    config["lora_dropout"] = config_.lora_dropout;
    config["fan_in_fan_out"] = false;
    config["init_lora_weights"] = true;
    config["use_rslora"] = config_.use_rslora && !doubled;
    config["use_dora"] = config_.use_dora;
    config["lora_bias"] = config_.lora_bias;
  }

 private:
  // Ranks twice as high, and the alphas that make the same scales with them, without a root.
  Ranks plain_ranks(const std::vector<std::string>& paths) const {
    const auto plain_alpha = [&](double alpha, std::int64_t r) {
      return 2 * alpha * (config_.use_rslora ? std::sqrt(static_cast<double>(r)) : 1);
    };
    Ranks plain{.r = 2 * config_.ranks.r, .alpha = plain_alpha(config_.ranks.alpha, config_.ranks.r)};
    for (const std::string& path : paths) {
      const std::int64_t r = config_.ranks.rank_of(path);
      plain.rank_pattern.emplace_back(path, 2 * r);
      plain.alpha_pattern.emplace_back(path, plain_alpha(config_.ranks.alpha_of(path), r));
    }
    return plain;
  }

  static std::vector<const LoraSlot*> slots(const std::vector<model::Linear*>& linears) {
    std::vector<const LoraSlot*> found;
    for (const model::Linear* linear : linears) found.push_back(&dynamic_cast<const LoraSlot&>(*linear->slot));
    return found;
  }

  LoraConfig config_;
};

// What PEFT's init_lora_weights says about the base that its matrices belong to.
std::string read_init(const AdapterConfig& config) {
  const nlohmann::json value = config.value<nlohmann::json>("init_lora_weights", true);
  std::string word = value.is_string() ? value.get<std::string>() : value.dump();
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (word == "pissa" || word == "olora") return word;
  if (std::find(kHarmlessInits.begin(), kHarmlessInits.end(), word) != kHarmlessInits.end()) return "true";
  config.refuse("init_lora_weights",
                word.starts_with("pissa_niter")
                    ? "the matrices belong to a base model that was changed by a random decomposition, which cannot be "
                      "repeated; save the adapter with path_initial_model_for_weight_conversion"
                    : "the matrices may belong to a base model that was changed in a way that dtrain does not know");
}

MethodSpec read_lora_config(const AdapterConfig& config, model::Classifier& classifier) {
  MethodSpec spec{"lora", {}};
  const auto paths = read_peft_wrapping(config, classifier, true, spec);
  read_peft_ranks(config, "lora_alpha", paths, spec);
  read_peft_settings(config, {"lora_dropout", "use_rslora", "use_dora", "lora_bias"}, spec);
  if (const std::string init = read_init(config); init != "true") spec.settings["init_lora_weights"] = init;
  return spec;
}

std::unique_ptr<Method> make_lora(const MethodSettings& settings) {
  LoraConfig config{.ranks = read_ranks(settings, "lora_alpha", settings.largest_size()),
                    .lora_dropout = settings.number("lora_dropout", 0, 0.999),
                    .use_rslora = settings.boolean("use_rslora"),
                    .use_dora = settings.boolean("use_dora"),
                    .init_lora_weights = settings.text("init_lora_weights"),
                    .lora_bias = settings.boolean("lora_bias"),
                    .loraplus_lr_ratio = settings.number("loraplus_lr_ratio", 1e-3, 1e6),
                    .wrapping = read_wrapping(settings, "lora_only")};
  check_lora_init(config.init_lora_weights);
  if (config.lora_bias && config.use_dora) {
    throw UsageError("method 'lora': lora_bias does not go with use_dora");
  }
  if (config.lora_bias && config.init_lora_weights != "true" && config.init_lora_weights != "false") {
    throw UsageError("method 'lora': lora_bias goes with init_lora_weights true or false only");
  }
  return std::make_unique<Lora>(std::move(config));
}

FileKeys lora_keys() {
  return joined({wrapping_keys(true),
                 rank_keys("lora_alpha"),
                 heeded_keys({"lora_dropout", "use_rslora", "use_dora", "lora_bias", "init_lora_weights"}),
                 {{"fan_in_fan_out", KeyUse::noted, "PEFT does so, too, on a torch.nn.Linear"}},
                 other_lora_keys()});
}

}  // namespace

MethodKind lora_kind() {
  return {.name = "lora",
          .family = "reparametrization",
          .summary = "low-rank updates of chosen linear layers train",
          .paper = "Hu et al., 2022, ICLR",
          .learning_rates = {5e-4, 1.5e-3, 5e-3},
          .settings = with_wrapping(
              with_ranks(
                  {{"lora_dropout", "0", "dropout on the update's input"},
                   {"use_rslora", "false", "rsLoRA: scaled by lora_alpha / sqrt(r) instead"},
                   {"use_dora", "false", "DoRA: the lengths of the weight's rows train apart from their directions"},
                   {"init_lora_weights", "true",
                    "where the update starts: true (zero), false, gaussian, orthogonal, pissa, pissa_niter_N or olora"},
                   {"lora_bias", "false", "the update has a bias, too"},
                   {"loraplus_lr_ratio", "1", "LoRA+: how much faster B and all vectors learn, such as 16"}},
                  "lora_alpha"),
              "lora_only"),
          .make = make_lora,
          .peft_type = "LORA",
          .read_peft = read_lora_config,
          .peft_keys = lora_keys()};
}

}  // namespace dtrain::peft
