#include "peft/config_keys.h"

#include <algorithm>

namespace dtrain::peft {

ConfigKeys heeded_keys(std::initializer_list<const char*> names) { return keys_of(KeyUse::heeded, "", names); }

ConfigKeys keys_of(KeyUse use, const std::string& reason, std::initializer_list<const char*> names) {
  ConfigKeys keys;
  for (const char* name : names) keys.push_back({name, use, reason});
  return keys;
}

ConfigKeys expected_keys(const std::vector<std::pair<std::string, nlohmann::json>>& values) {
  ConfigKeys keys;
  for (const auto& [name, value] : values) {
    keys.push_back({name, KeyUse::heeded, "expected " + value.dump() + "; others are refused"});
  }
  return keys;
}

ConfigKeys joined(std::initializer_list<ConfigKeys> lists) {
  ConfigKeys all;
  for (const ConfigKeys& keys : lists) all.insert(all.end(), keys.begin(), keys.end());
  return all;
}

const ConfigKeys& common_peft_keys() {
  static const ConfigKeys keys = {
      {"peft_type", KeyUse::heeded, "the method"},
      {"task_type", KeyUse::heeded, "SEQ_CLS or null; others are refused"},
      {"base_model_name_or_path", KeyUse::heeded, "the base model, where --model names none"},
      {"auto_mapping", KeyUse::without_effect, "the Python class of the base model"},
      {"revision", KeyUse::without_effect, "of the base model on the hub; here it is a directory"},
      {"peft_version", KeyUse::without_effect, "the release that wrote the file"},
      {"inference_mode", KeyUse::without_effect, "the command decides whether it trains"}};
  return keys;
}

const ConfigKey* find_key(const ConfigKeys& keys, const std::string& name) {
  const auto found = std::find_if(keys.begin(), keys.end(), [&](const ConfigKey& key) { return key.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

}  // namespace dtrain::peft
