#include "peft/parts/bottleneck_settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/error.h"
#include "peft/parts/patterns.h"

namespace dtrain::peft {
namespace {

using nlohmann::json;

constexpr double kLargestFactor = 1e6;
constexpr std::int64_t kLargestRule = 64;  // the rule has the cube of it

const char* yes_or_no(bool value) { return value ? "true" : "false"; }

std::string reduction_text(const BottleneckConfig& config) {
  if (config.reduction_factor_by_layer.empty()) return fmt::format("{}", config.reduction_factor);
  std::string text;
  for (const auto& [layer, factor] : config.reduction_factor_by_layer) text += fmt::format("{}~{}+", layer, factor);
  return text + fmt::format("default~{}", config.reduction_factor);
}

void read_reduction(const MethodSettings& settings, BottleneckConfig& config) {
  if (settings.text("reduction_factor").find('~') == std::string::npos) {
    config.reduction_factor = settings.number("reduction_factor", 1 / kLargestFactor, kLargestFactor);
    return;
  }
  bool has_default = false;
  for (const auto& [key, factor] : settings.pattern("reduction_factor", 1 / kLargestFactor, kLargestFactor)) {
    if (key == "default") {
      config.reduction_factor = factor;
      has_default = true;
      continue;
    }
    std::int64_t layer = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), layer);
    if (error != std::errc() || end != key.data() + key.size() || layer < 0) {
      throw UsageError(
          fmt::format("reduction_factor: expected a layer's number or 'default' before ~, found '{}'", key));
    }
    config.reduction_factor_by_layer[layer] = factor;
  }
  if (!has_default) throw UsageError("reduction_factor: expected 'default~FACTOR' for the layers that are not named");
}

bool is_number(const std::string& scaling) { return scaling != "learned" && scaling != "channel"; }

}  // namespace

std::vector<MethodSetting> bottleneck_settings(const BottleneckConfig& d) {
  std::vector<MethodSetting> settings = {
      {"mh_adapter", yes_or_no(d.mh_adapter), "an adapter after the self-attention"},
      {"output_adapter", yes_or_no(d.output_adapter), "an adapter after the feed-forward network"},
      {"reduction_factor", reduction_text(d), "the hidden size over the bottleneck's; by layer: 0~8+default~16"},
      {"non_linearity", d.non_linearity, fmt::format("{}", fmt::join(adapter_activations(), ", "))},
      {"original_ln_after", yes_or_no(d.original_ln_after), "the model's norm, after the adapter"},
      {"ln_before", yes_or_no(d.ln_before), "a norm of the adapter's own, before it"},
      {"ln_after", yes_or_no(d.ln_after), "a norm of the adapter's own, after it"},
      {"scaling", d.scaling, "of what the adapter adds: a number, learned, or channel (learned)"},
      {"use_gating", yes_or_no(d.use_gating), "a learned gate on what the adapter adds"},
      {"dropout", fmt::format("{}", d.dropout), "dropout on what the adapter adds"},
      {"leave_out", "", "layers without an adapter, joined by +"}};
  const auto add = [&](const std::vector<MethodSetting>& more) {
    settings.insert(settings.end(), more.begin(), more.end());
  };
  if (!d.is_parallel) {
    add({{"original_ln_before", yes_or_no(d.original_ln_before), "the model's norm, before the adapter"},
         {"residual_before_ln", d.residual_before_ln,
          "the residual is taken before that norm: true, false or post_add"},
         {"adapter_residual_before_ln", yes_or_no(d.adapter_residual_before_ln),
          "the residual is added before the adapter's own norm"}});
  }
  if (d.phm) {
    add({{"phm_dim", std::to_string(d.phm->phm_dim), "how many blocks a side of a linear layer has"},
         {"phm_rank", std::to_string(d.phm->phm_rank), "rank of the blocks"},
         {"phm_bias", yes_or_no(d.phm->phm_bias), "the linear layers have a bias"},
         {"factorized_phm_W", yes_or_no(d.phm->factorized_phm_W), "the blocks are of that rank"},
         {"shared_phm_rule", yes_or_no(d.phm->shared_phm_rule), "one rule for the whole model"},
         {"factorized_phm_rule", yes_or_no(d.phm->factorized_phm_rule), "the rule is of rank 1"},
         {"phm_init_range", fmt::format("{}", d.phm->phm_init_range), "deviation that a shared rule is drawn with"}});
  } else {
    add({{"init_weights", d.init_weights, "bert, mam_adapter or houlsby"}});
  }
  return settings;
}

BottleneckConfig bottleneck_config(const MethodSettings& settings, const BottleneckConfig& defaults) {
  BottleneckConfig config = defaults;
  config.mh_adapter = settings.boolean("mh_adapter");
  config.output_adapter = settings.boolean("output_adapter");
  read_reduction(settings, config);
  config.non_linearity = settings.choice("non_linearity", adapter_activations());
  config.original_ln_after = settings.boolean("original_ln_after");
  config.ln_before = settings.boolean("ln_before");
  config.ln_after = settings.boolean("ln_after");
  config.scaling = settings.text("scaling");
  if (is_number(config.scaling)) static_cast<void>(settings.number("scaling", -kLargestFactor, kLargestFactor));
  config.use_gating = settings.boolean("use_gating");
  config.dropout = settings.number("dropout", 0, 0.999);
  config.leave_out = settings.integers("leave_out", 0);
  if (!config.is_parallel) {
    config.original_ln_before = settings.boolean("original_ln_before");
    config.residual_before_ln = settings.choice("residual_before_ln", {"true", "false", "post_add"});
    config.adapter_residual_before_ln = settings.boolean("adapter_residual_before_ln");
  }
  if (config.phm) {
    config.phm = PhmConfig{.phm_dim = settings.size("phm_dim", 1, kLargestRule),
                           .phm_rank = settings.size("phm_rank", 1),
                           .phm_bias = settings.boolean("phm_bias"),
                           .factorized_phm_W = settings.boolean("factorized_phm_W"),
                           .shared_phm_rule = settings.boolean("shared_phm_rule"),
                           .factorized_phm_rule = settings.boolean("factorized_phm_rule"),
                           .phm_init_range = settings.number("phm_init_range", 0, kLargestFactor)};
  } else {
    config.init_weights = settings.choice("init_weights", {"bert", "mam_adapter", "houlsby"});
  }
  if (config.residual_before_ln == "post_add" && !config.original_ln_before) {
    throw UsageError("residual_before_ln=post_add needs original_ln_before=true");
  }
  if (!config.mh_adapter && !config.output_adapter) {
    throw UsageError("mh_adapter=false and output_adapter=false leave no place for an adapter");
  }
  return config;
}

json bottleneck_json(const BottleneckConfig& config) {
  json by_layer = json::object();
  for (const auto& [layer, factor] : config.reduction_factor_by_layer)
    by_layer[std::to_string(layer)] = json_number(factor);
  by_layer["default"] = json_number(config.reduction_factor);
  const PhmConfig phm = config.phm.value_or(PhmConfig{});
  return {
      {"mh_adapter", config.mh_adapter},
      {"output_adapter", config.output_adapter},
      {"reduction_factor", config.reduction_factor_by_layer.empty() ? json_number(config.reduction_factor) : by_layer},
      {"non_linearity", config.non_linearity},
      {"original_ln_before", config.original_ln_before},
      {"original_ln_after", config.original_ln_after},
      {"residual_before_ln",
       config.residual_before_ln == "post_add" ? json("post_add") : json(config.residual_before_ln == "true")},
      {"adapter_residual_before_ln", config.adapter_residual_before_ln},
      {"ln_before", config.ln_before},
      {"ln_after", config.ln_after},
      {"init_weights", config.init_weights},
      {"is_parallel", config.is_parallel},
      {"scaling", is_number(config.scaling) ? json(std::stod(config.scaling)) : json(config.scaling)},
      {"use_gating", config.use_gating},
      {"dropout", config.dropout},
      {"leave_out", config.leave_out},
      {"init_weights_seed", nullptr},
      {"inv_adapter", nullptr},
      {"inv_adapter_reduction_factor", nullptr},
      {"cross_adapter", false},
      {"stochastic_depth", 0.0},
      {"phm_layer", config.phm.has_value()},
      {"phm_dim", phm.phm_dim},
      {"phm_rank", phm.phm_rank},
      {"phm_bias", phm.phm_bias},
      {"factorized_phm_W", phm.factorized_phm_W},
      {"shared_W_phm", false},
      {"shared_phm_rule", phm.shared_phm_rule},
      {"factorized_phm_rule", phm.factorized_phm_rule},
      {"phm_c_init", "normal"},
      {"phm_init_range", phm.phm_init_range},
      {"learn_phm", true},
      {"hypercomplex_nonlinearity", "glorot-uniform"}};
}

std::map<std::string, std::string> read_bottleneck(const AdapterConfig& config) {
  std::map<std::string, std::string> settings;
  const auto read_booleans = [&](const std::vector<std::pair<const char*, bool>>& keys) {
    for (const auto& [key, fallback] : keys) settings[key] = yes_or_no(config.value(key, fallback));
  };
  read_booleans({{"mh_adapter", false},
                 {"output_adapter", false},
                 {"original_ln_after", true},
                 {"ln_before", false},
                 {"ln_after", false},
                 {"use_gating", false}});
  const auto read_text = [&](const char* key, const json& fallback) {
    const auto value = config.value(key, fallback);
    return value.is_string() ? value.get<std::string>() : value.dump();
  };
  const auto reduction = config.value("reduction_factor", json(16));
  settings["reduction_factor"] = reduction.dump();
  if (reduction.is_object()) {
    std::vector<std::string> parts;
    for (const auto& [layer, factor] : reduction.items()) parts.push_back(layer + "~" + factor.dump());
    settings["reduction_factor"] = fmt::format("{}", fmt::join(parts, "+"));
  }
  std::string& name = settings["non_linearity"] = config.value<std::string>("non_linearity", "relu");
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  settings["scaling"] = read_text("scaling", 1.0);
  settings["dropout"] = fmt::format("{}", config.value("dropout", 0.0));
  settings["leave_out"] = fmt::format("{}", fmt::join(config.value("leave_out", std::vector<std::int64_t>{}), "+"));
  // A parallel adapter's files say these, too, and mean nothing by them.
  std::map<std::string, std::string> sequential = {{"residual_before_ln", read_text("residual_before_ln", true)}};
  for (const char* key : {"original_ln_before", "adapter_residual_before_ln"}) {
    sequential[key] = yes_or_no(config.value(key, false));
  }
  if (!config.value("is_parallel", false)) settings.merge(sequential);
  std::map<std::string, std::string> phm = {{"phm_dim", std::to_string(config.value<std::int64_t>("phm_dim", 4))},
                                            {"phm_rank", std::to_string(config.value<std::int64_t>("phm_rank", 1))}};
  for (const auto& [key, fallback] : {std::pair("phm_bias", true), std::pair("factorized_phm_W", true),
                                      std::pair("shared_phm_rule", true), std::pair("factorized_phm_rule", false)}) {
    phm[key] = yes_or_no(config.value(key, fallback));
  }
  if (config.value("phm_layer", false)) settings.merge(phm);
  return settings;
}

FileKeys bottleneck_keys() {
  return joined(
      {heeded_keys({"architecture",      "mh_adapter",         "output_adapter",
                    "reduction_factor",  "non_linearity",      "original_ln_before",
                    "original_ln_after", "residual_before_ln", "adapter_residual_before_ln",
                    "ln_before",         "ln_after",           "is_parallel",
                    "scaling",           "use_gating",         "dropout",
                    "leave_out",         "phm_layer",          "phm_dim",
                    "phm_rank",          "phm_bias",           "factorized_phm_W",
                    "shared_phm_rule",   "factorized_phm_rule"}),
       keys_of(KeyUse::no_effect, "the file holds the weights",
               {"init_weights", "init_weights_seed", "phm_c_init", "phm_init_range", "hypercomplex_nonlinearity"}),
       {{"learn_phm", KeyUse::no_effect, "whether the rule was trained"},
        {"cross_adapter", KeyUse::no_effect, "an encoder has no cross-attention"},
        {"inv_adapter_reduction_factor", KeyUse::no_effect, "of inv_adapter"}},
       keys_of(KeyUse::refused, "it changes what the adapter computes",
               {"inv_adapter", "stochastic_depth", "shared_W_phm"})});
}

}  // namespace dtrain::peft
