#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"
#include "peft/methods/kinds.h"
#include "peft/parts/adalora_slot.h"
#include "peft/parts/lora_slot.h"
#include "peft/parts/patterns.h"
#include "peft/parts/rank_allocator.h"

namespace dtrain::peft {
namespace {

using nlohmann::json;

constexpr const char* kName = "adalora";

AdaLoraSlot& adalora_slot_of(const model::Linear& linear) { return dynamic_cast<AdaLoraSlot&>(*linear.slot); }

class AdaLora final : public LinearMethod {
 public:
  AdaLora(AdaLoraConfig config, Wrapping wrapping)
      : LinearMethod(kName, "ADALORA", std::move(wrapping)), config_(std::move(config)) {}

  std::unique_ptr<TrainingHooks> start_training_hooks(model::Classifier& classifier,
                                                      std::int64_t steps) const override {
    std::vector<AdaLoraSlot*> slots;
    for (const model::Linear* linear : wrapped(classifier)) slots.push_back(&adalora_slot_of(*linear));
    return make_rank_allocator(std::move(slots), config_, steps);
  }

  /// Without the rows that were cut.
  NamedTensors saved_tensors(model::Classifier& classifier) const override {
    auto tensors = LinearMethod::saved_tensors(classifier);
    for (const model::Linear* linear : wrapped(classifier)) {
      const AdaLoraSlot& slot = adalora_slot_of(*linear);
      const auto rows = slot.kept_rows();
      if (!rows.defined()) continue;
      const auto kept = rows.nonzero().squeeze(1);
      for (auto& [name, tensor] : tensors) {
        for (const model::Parameter* parameter : {&slot.a, &slot.e, &slot.b}) {
          if (tensor.is_same(parameter->value())) tensor = tensor.index_select(parameter == &slot.b ? 1 : 0, kept);
        }
      }
    }
    return tensors;
  }

 protected:
  /// PEFT's, which are others in RoBERTa.
  std::vector<model::Linear*> default_targets(model::Classifier& classifier) const override {
    if (classifier.config().model_type != "roberta") return query_and_value(classifier);
    return find_targets(classifier, {.names = {"query", "key", "value", "dense"}}, {}, kName);
  }

  void fill(const std::vector<model::Linear*>& wrapped, at::Generator& generator) const override {
    for (model::Linear* linear : wrapped) linear->slot = std::make_unique<AdaLoraSlot>(*linear, config_, generator);
  }

  void describe(json& config, const std::vector<model::Linear*>& wrapped) const override {
    config.update({{"init_r", config_.init_r},
                   {"target_r", config_.target_r},
                   {"lora_alpha", json_number(config_.lora_alpha)},
                   {"lora_dropout", config_.lora_dropout},
                   {"tinit", config_.tinit},
                   {"tfinal", config_.tfinal},
                   {"deltaT", config_.deltaT},
                   {"beta1", config_.beta1},
                   {"beta2", config_.beta2},
                   {"orth_reg_weight", config_.orth_reg_weight}});
    const std::int64_t steps = adalora_slot_of(*wrapped.front()).total_step;
    // PEFT loads no adapter without it.
    config["total_step"] = steps > 0 ? steps : config_.total_step.value_or(config_.tinit + config_.tfinal + 1);
    for (const model::Linear* linear : wrapped) {
      const AdaLoraSlot& slot = adalora_slot_of(*linear);
      std::vector<bool> kept(static_cast<std::size_t>(slot.e.value().size(0)), true);
      const auto rows = slot.kept_rows();
      for (std::size_t row = 0; rows.defined() && row < kept.size(); ++row) {
        kept[row] = rows[static_cast<std::int64_t>(row)].item<bool>();
      }
      if (!rows.defined() && config_.rank_pattern.empty()) continue;
      kept.resize(static_cast<std::size_t>(config_.init_r), false);
      config["rank_pattern"][linear->path() + ".lora_E"] = kept;
    }
  }

 private:
  AdaLoraConfig config_;
};

MethodSpec read_adalora_config(const AdapterConfig& config, model::Classifier& classifier) {
  MethodSpec spec{kName, {}};
  read_peft_wrapping(config, classifier, true, spec);
  read_peft_settings(config,
                     {"init_r", "target_r", "lora_alpha", "lora_dropout", "tinit", "tfinal", "deltaT", "beta1", "beta2",
                      "orth_reg_weight"},
                     spec);
  std::string& ranks = spec.settings["rank_pattern"];
  const auto pattern = config.value("rank_pattern", json::object());
  for (const auto& [name, rows] : pattern.items()) {
    const std::string path = name.substr(0, name.rfind(".lora_E"));
    std::int64_t rank = 0;
    if (rows.is_number_integer()) {
      rank = rows.get<std::int64_t>();
    } else {
      for (const auto& kept : rows) rank += kept == true ? 1 : 0;
    }
    ranks += fmt::format("{}{}~{}", ranks.empty() ? "" : "+", path, rank);
  }
  return spec;
}

AdaLoraConfig read_config(const MethodSettings& settings) {
  AdaLoraConfig config{.init_r = settings.size("init_r", 1),
                       .target_r = settings.size("target_r", 1),
                       .lora_alpha = settings.number("lora_alpha", 0, 1e6),
                       .lora_dropout = settings.number("lora_dropout", 0, 0.999),
                       .tinit = settings.integer("tinit", 0),
                       .tfinal = settings.integer("tfinal", 0),
                       .deltaT = settings.integer("deltaT", 1),
                       .beta1 = settings.number("beta1", 1e-9, 1 - 1e-9),
                       .beta2 = settings.number("beta2", 1e-9, 1 - 1e-9),
                       .orth_reg_weight = settings.number("orth_reg_weight", 1e-9, 1e9),
                       .total_step = {},
                       .rank_pattern = {}};
  if (settings.text("total_step") != "auto") config.total_step = settings.integer("total_step", 1);
  for (const auto& [path, rank] : settings.pattern("rank_pattern", 0, static_cast<double>(settings.largest_size()))) {
    config.rank_pattern[path] = static_cast<std::int64_t>(rank);
  }
  if (config.target_r >= config.init_r) {
    throw UsageError(fmt::format("method 'adalora': target_r must be less than init_r, found {} and {}",
                                 config.target_r, config.init_r));
  }
  return config;
}

FileKeys adalora_keys() {
  return joined(
      {wrapping_keys(true),
       heeded_keys({"init_r", "target_r", "lora_alpha", "lora_dropout", "tinit", "tfinal", "deltaT", "beta1", "beta2",
                    "orth_reg_weight", "rank_pattern"}),
       keys_of(KeyUse::no_effect, "PEFT does not use it here either", {"r", "use_rslora", "alpha_pattern"}),
       {{"init_lora_weights", KeyUse::no_effect, "the file holds the weights"}},
       {{"total_step", KeyUse::no_effect, "a run that goes on from it has steps of its own"}},
       keys_of(KeyUse::refused, "it changes what the adapter computes", {"use_dora", "lora_bias", "fan_in_fan_out"}),
       other_lora_keys()});
}

}  // namespace

MethodKind adalora_kind() {
  return {
      .name = kName,
      .family = "reparametrization",
      .summary = "low-rank updates train, whose ranks move to the linear layers that need them",
      .paper = "Zhang et al., 2023, ICLR",
      .learning_rates = {1.5e-3, 5e-3, 1.5e-2},
      .settings = with_wrapping({{"init_r", "12", "rank of every update at the start"},
                                 {"target_r", "8", "rank of the updates at the end, on average"},
                                 {"lora_alpha", "8", "the update is scaled by lora_alpha / init_r"},
                                 {"lora_dropout", "0", "dropout on the update's input"},
                                 {"tinit", "0", "steps before the first cut"},
                                 {"tfinal", "0", "steps after the last cut"},
                                 {"deltaT", "1", "steps from cut to cut"},
                                 {"beta1", "0.85", "smoothing of the sensitivity"},
                                 {"beta2", "0.85", "smoothing of its uncertainty"},
                                 {"orth_reg_weight", "0.5", "weight of what keeps the factors orthogonal"},
                                 {"total_step", "auto", "steps of the run; auto: as many as it has"},
                                 {"rank_pattern", "", "ranks that a trained adapter has, as PATH~RANK joined by +"}},
                                "lora_only", "query and value, and in RoBERTa every linear layer"),
      .make = [](const MethodSettings& settings) -> std::unique_ptr<Method> {
        return std::make_unique<AdaLora>(read_config(settings), read_wrapping(settings, "lora_only"));
      },
      .peft_type = "ADALORA",
      .read_peft = read_adalora_config,
      .peft_keys = adalora_keys()};
}

}  // namespace dtrain::peft
