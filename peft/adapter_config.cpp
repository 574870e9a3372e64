#include "peft/adapter_config.h"

#include <fmt/format.h>

#include "base/atomic_file.h"
#include "base/error.h"

namespace dtrain::peft {
namespace {

using nlohmann::json;

// Keys of PEFT that say where an adapter comes from or how it was trained, not what it computes.
const std::set<std::string>& keys_without_effect() {
  static const std::set<std::string> keys = {
      "auto_mapping",   "base_model_name_or_path", "ensure_weight_tying", "inference_mode", "init_weights",
      "layers_pattern", "megatron_core",           "peft_type",           "peft_version",   "qalora_group_size",
      "revision",       "runtime_config"};
  return keys;
}

bool is_empty(const json& value) {
  return value.is_null() || ((value.is_structured() || value.is_string()) && value.empty());
}

bool is_off(const json& value) { return value == false || value == 0; }

}  // namespace

json read_json_object(const std::filesystem::path& path) {
  json document = json::parse(read_file(path), nullptr, false);
  if (!document.is_object()) throw InputError(fmt::format("{}: expected a JSON object", path.string()));
  return document;
}

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

void AdapterConfig::ignore(const std::string& key, const std::string& reason) const {
  read_.insert(key);
  const nlohmann::json value = json_.value(key, nlohmann::json());
  if (!is_empty(value) && !is_off(value))
    notices_.push_back(fmt::format("{}: {} = {} is ignored: {}", path_.string(), key, value.dump(), reason));
}

void AdapterConfig::refuse_unread() const {
  for (const auto& [key, value] : json_.items()) {
    if (read_.count(key) > 0 || keys_without_effect().count(key) > 0 || is_empty(value)) continue;
    if (!is_off(value)) {
      refuse(key, "this version of dtrain does not know that key, and it may change what the adapter computes");
    }
    notices_.push_back(fmt::format("{}: {} = {} is not known to this version of dtrain and is taken for switched off",
                                   path_.string(), key, value.dump()));
  }
}

void AdapterConfig::refuse_type(const std::string& key) const {
  throw InputError(fmt::format("{}: '{}' has an unexpected type: {}", path_.string(), key, json_.at(key).dump()));
}

}  // namespace dtrain::peft
