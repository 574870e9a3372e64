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

/// adapter-hub's LoRAConfig with a gate, as a part of a composition, on query and value: W x + b + gate * B A x. Its
/// alpha has no effect there.
struct GatedLoraConfig {
  std::int64_t r = 8;
};

inline constexpr const char* kLoraArchitecture = "lora";

nlohmann::json gated_lora_json(const GatedLoraConfig& config);
/// The settings that make what adapter-hub's configuration describes. Throws InputError for what is not supported.
std::map<std::string, std::string> read_gated_lora(const AdapterConfig& config);
FileKeys gated_lora_keys();

/// Fills the slots of the linear layers.
void add_gated_lora(model::Classifier& classifier, const GatedLoraConfig& config, at::Generator& generator);

}  // namespace dtrain::peft
