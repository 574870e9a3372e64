#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace dtrain::peft {

/// One setting of a method: its name and default as in PEFT's configuration, and a line of help.
struct MethodSetting {
  std::string key;
  std::string default_value;
  std::string help;
};

/// The settings of a method as the user gave them, over their defaults. Every accessor throws UsageError naming method,
/// key, what was expected and what was found.
class MethodSettings {
 public:
  /// Throws UsageError for a key the method does not have, with the nearest one.
  MethodSettings(std::string method, const std::vector<MethodSetting>& known,
                 const std::map<std::string, std::string>& given);

  std::string text(const std::string& key) const { return values_.at(key); }
  std::int64_t integer(const std::string& key, std::int64_t lowest) const;
  double number(const std::string& key, double lowest, double highest) const;
  bool boolean(const std::string& key) const;
  /// One of `choices`.
  std::string choice(const std::string& key, const std::vector<std::string>& choices) const;
  /// "a+b" -> {"a", "b"}; empty where the setting is.
  std::vector<std::string> list(const std::string& key) const;
  /// "0+2" -> {0, 2}; empty where the setting is.
  std::vector<std::int64_t> integers(const std::string& key, std::int64_t lowest) const;
  /// "query~16+value~4" -> {{"query", 16}, {"value", 4}}, in that order; empty where the setting is.
  std::vector<std::pair<std::string, double>> pattern(const std::string& key, double lowest) const;

 private:
  [[noreturn]] void refuse(const std::string& key, const std::string& expected) const;

  std::string method_;
  std::map<std::string, std::string> values_;
};

}  // namespace dtrain::peft
