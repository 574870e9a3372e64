#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "peft/adapter_files.h"

namespace dtrain::peft {

/// adapter-hub's (the Python package `adapters`): adapter_config.json and adapter.safetensors, head_config.json and
/// model_head.safetensors, or torch.save's .bin in place of .safetensors. Python reads it by
/// `adapters.init(model); model.load_adapter(directory, set_active=True, use_safetensors=True)`.
AdapterLayout adapter_hub_layout();

/// What an adapter is called there, a part of its tensors' names.
inline constexpr const char* kAdapterName = "dtrain";

/// The `architecture` of a configuration that says none.
inline constexpr const char* kBottleneckArchitecture = "bottleneck";
/// That of a composition of others, which are its `configs`.
inline constexpr const char* kUnionArchitecture = "union";

/// adapter_config.json around the configuration of an adapter.
nlohmann::json adapter_hub_config(model::Classifier& classifier, const nlohmann::json& config,
                                  const std::string& base_model);

}  // namespace dtrain::peft
