#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/file_keys.h"
#include "model/classifier.h"

/// adapter-hub's adapter_config.json, as far as methods write it.
namespace dtrain::peft {

/// What an adapter is called there, a part of its tensors' names.
inline constexpr const char* kAdapterName = "dtrain";

/// The `architecture` of a configuration that says none.
inline constexpr const char* kBottleneckArchitecture = "bottleneck";
/// That of a composition of others, which are its `configs`.
inline constexpr const char* kUnionArchitecture = "union";

/// The keys of adapter_config.json around the configuration of an adapter.
FileKeys adapter_hub_file_keys();
/// Those of head_config.json.
FileKeys adapter_hub_head_keys();

/// adapter_config.json around the configuration of an adapter.
nlohmann::json adapter_hub_config(model::Classifier& classifier, const nlohmann::json& config,
                                  const std::string& base_model);
/// What both of its configuration files say of the model.
nlohmann::json adapter_hub_model(model::Classifier& classifier, const std::string& base_model);

}  // namespace dtrain::peft
