#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/classifier.h"
#include "peft/adapter_config.h"
#include "peft/method_settings.h"

namespace dtrain::peft {

/// adapter-hub's PrefixTuningConfig, as a part of a composition. Unlike PEFT's prefix tuning it takes up no positions.
struct GatedPrefixConfig {
  std::int64_t prefix_length = 30;
  /// Between the two linear layers that compute the keys and values.
  std::int64_t bottleneck_size = 512;
  /// A gate a layer, from its input, on the prefix of each example.
  bool use_gating = false;
};

inline constexpr const char* kPrefixArchitecture = "prefix_tuning";

std::vector<MethodSetting> gated_prefix_settings(const GatedPrefixConfig& defaults);
GatedPrefixConfig gated_prefix_config(const MethodSettings& settings, const GatedPrefixConfig& defaults);
nlohmann::json gated_prefix_json(const GatedPrefixConfig& config);
/// The settings that make what adapter-hub's configuration describes. Throws InputError for what is not supported.
std::map<std::string, std::string> read_gated_prefix(const AdapterConfig& config);
FileKeys gated_prefix_keys();

/// Fills the attention's slots.
void add_gated_prefix(model::Classifier& classifier, const GatedPrefixConfig& config, at::Generator& generator);

}  // namespace dtrain::peft
