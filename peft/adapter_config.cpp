#include "peft/adapter_config.h"

#include <fmt/format.h>

#include <stdexcept>

#include "base/error.h"
#include "base/json_file.h"

namespace dtrain::peft {

AdapterConfig::AdapterConfig(const std::filesystem::path& path)
    : path_(path), ordered_(read_ordered_json_object(path)), json_(ordered_) {}

std::vector<std::string> AdapterConfig::strings(const std::string& key) const {
  read_.insert(key);
  const auto found = json_.find(key);
  if (found == json_.end() || found->is_null()) return {};
  if (found->is_string()) return {found->get<std::string>()};
  return value(key, std::vector<std::string>{});
}

std::vector<std::string> AdapterConfig::names_in_order(const std::string& key) const {
  std::vector<std::string> names;
  for (const auto& [name, value] : ordered_.at(key).items()) names.push_back(name);
  return names;
}

void AdapterConfig::refuse(const std::string& key, const std::string& reason) const {
  throw InputError(
      fmt::format("{}: {} = {}: {}", path_.string(), key, shown_json(json_.value(key, nlohmann::json())), reason));
}

void AdapterConfig::refuse_others(const FileKeys& known) const {
  notices_ = check_keys(json_, known, path_, "", UnknownKeys::refused);
}

void AdapterConfig::check_reads(const FileKeys& known, const FileKeys& own) const {
  for (const std::string& name : read_) {
    const FileKey* key = find_key(known, name);
    if (key != nullptr && key->use == KeyUse::heeded) continue;
    throw std::logic_error(fmt::format("{} is read, and not listed as heeded", name));
  }
  for (const FileKey& key : own) {
    const std::string name(key.key);
    if (key.use != KeyUse::heeded || read_.count(name) > 0 || json_.value(name, nlohmann::json()).is_null()) continue;
    throw std::logic_error(fmt::format("{} is listed as heeded, and not read", name));
  }
}

void AdapterConfig::refuse_type(const std::string& key) const {
  throw InputError(fmt::format("{}: '{}' has an unexpected type: {}", path_.string(), key, shown_json(json_.at(key))));
}

}  // namespace dtrain::peft
