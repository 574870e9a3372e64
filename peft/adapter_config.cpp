#include "peft/adapter_config.h"

#include <fmt/format.h>

#include <stdexcept>

#include "base/error.h"
#include "base/json_file.h"

namespace dtrain::peft {
namespace {

using nlohmann::json;

bool is_empty(const json& value) {
  return value.is_null() || ((value.is_structured() || value.is_string()) && value.empty());
}

bool is_off(const json& value) { return value == false || value == 0; }

}  // namespace

AdapterConfig::AdapterConfig(const std::filesystem::path& path) : path_(path), json_(read_json_object(path)) {}

std::vector<std::string> AdapterConfig::strings(const std::string& key) const {
  read_.insert(key);
  const auto found = json_.find(key);
  if (found == json_.end() || found->is_null()) return {};
  if (found->is_string()) return {found->get<std::string>()};
  return value(key, std::vector<std::string>{});
}

void AdapterConfig::refuse(const std::string& key, const std::string& reason) const {
  throw InputError(
      fmt::format("{}: {} = {}: {}", path_.string(), key, json_.value(key, nlohmann::json()).dump(), reason));
}

void AdapterConfig::expect(const std::vector<std::pair<std::string, nlohmann::json>>& values) const {
  for (const auto& [key, expected] : values) {
    if (value(key, expected) != expected) refuse(key, fmt::format("not supported; expected {}", expected.dump()));
  }
}

void AdapterConfig::refuse_others(const ConfigKeys& known) const {
  for (const auto& [name, value] : json_.items()) {
    if (is_empty(value)) continue;
    const ConfigKey* key = find_key(known, name);
    if (key == nullptr && !is_off(value)) {
      refuse(name, "this version of dtrain does not know that key, and it may change what the adapter computes");
    }
    if (key == nullptr) {
      notices_.push_back(fmt::format("{}: {} = {} is not known to this version of dtrain and is taken for switched off",
                                     path_.string(), name, value.dump()));
    } else if (key->use == KeyUse::refused && !is_off(value)) {
      refuse(name, key->reason);
    } else if (key->use == KeyUse::noted && !is_off(value)) {
      notices_.push_back(fmt::format("{}: {} = {} is ignored: {}", path_.string(), name, value.dump(), key->reason));
    }
  }
}

void AdapterConfig::check_reads(const ConfigKeys& known, const ConfigKeys& own) const {
  for (const std::string& name : read_) {
    const ConfigKey* key = find_key(known, name);
    if (key != nullptr && key->use == KeyUse::heeded) continue;
    throw std::logic_error(fmt::format("{} is read, and not listed as heeded", name));
  }
  for (const ConfigKey& key : own) {
    if (key.use != KeyUse::heeded || read_.count(key.name) > 0 || json_.value(key.name, nlohmann::json()).is_null())
      continue;
    throw std::logic_error(fmt::format("{} is listed as heeded, and not read", key.name));
  }
}

void AdapterConfig::refuse_type(const std::string& key) const {
  throw InputError(fmt::format("{}: '{}' has an unexpected type: {}", path_.string(), key, json_.at(key).dump()));
}

}  // namespace dtrain::peft
