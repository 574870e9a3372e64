#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace dtrain::peft {

/// What dtrain does with a key of somebody else's adapter_config.json.
enum class KeyUse {
  /// It decides what is computed, here as there.
  heeded,
  /// It says where an adapter comes from or how it was trained, not what it computes.
  without_effect,
  /// Likewise; where it is switched on, a warning says why it has no effect.
  noted,
  /// Refused by name, unless it is null, empty, false or zero.
  refused,
};

struct ConfigKey {
  std::string name;
  KeyUse use = KeyUse::heeded;
  /// Why; of a key that is heeded whatever its value: empty.
  std::string reason = {};
};

/// The keys of a kind of file. docs/adapter-files.md shows all of them; a test holds it, and the packages that write
/// them, to these lists.
using ConfigKeys = std::vector<ConfigKey>;

ConfigKeys heeded_keys(std::initializer_list<const char*> names);
/// All of one use, for one reason.
ConfigKeys keys_of(KeyUse use, const std::string& reason, std::initializer_list<const char*> names);
/// Those of which one value alone is supported.
ConfigKeys expected_keys(const std::vector<std::pair<std::string, nlohmann::json>>& values);
/// One after the other.
ConfigKeys joined(std::initializer_list<ConfigKeys> lists);

/// Keys that PEFT's configuration has for every method.
const ConfigKeys& common_peft_keys();

/// Null where it is not among them.
const ConfigKey* find_key(const ConfigKeys& keys, const std::string& name);

}  // namespace dtrain::peft
