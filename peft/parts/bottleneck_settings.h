#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "peft/adapter_config.h"
#include "peft/method_settings.h"
#include "peft/parts/bottleneck_slot.h"

namespace dtrain::peft {

/// The settings of a method that has bottleneck adapters, with these defaults. What only sequential adapters have is
/// left out for parallel ones, and what only hypercomplex linear layers have for plain ones.
std::vector<MethodSetting> bottleneck_settings(const BottleneckConfig& defaults);

/// `defaults`, with what the settings say.
BottleneckConfig bottleneck_config(const MethodSettings& settings, const BottleneckConfig& defaults);

/// adapter-hub's configuration of such an adapter.
nlohmann::json bottleneck_json(const BottleneckConfig& config);

/// The settings that make what such a configuration describes. Throws InputError for what is not supported.
std::map<std::string, std::string> read_bottleneck(const AdapterConfig& config);
/// The keys of such a configuration.
FileKeys bottleneck_keys();

}  // namespace dtrain::peft
