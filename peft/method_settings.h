#pragma once

#include <cstdint>
#include <map>
#include <optional>
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

/// Beyond every size of a method that anybody asks for (ranks, widths, tokens).
inline constexpr std::int64_t kLargestSize = 1 << 20;

/// The settings of a method as the user gave them, over their defaults. Every accessor throws UsageError naming method,
/// key, what was expected and what was found.
class MethodSettings {
 public:
  /// Throws UsageError for a key the method does not have, with the nearest one.
  /// `largest_size`: of what the method adds; whoever reads an adapter knows what its tensors can have.
  MethodSettings(std::string method, const std::vector<MethodSetting>& known,
                 const std::map<std::string, std::string>& given, std::int64_t largest_size = kLargestSize);

  std::string text(const std::string& key) const { return values_.at(key); }
  std::int64_t integer(const std::string& key, std::int64_t lowest) const;
  /// The size of something that the method adds, at most `highest`; without it the largest there may be.
  std::int64_t size(const std::string& key, std::int64_t lowest,
                    std::optional<std::int64_t> highest = std::nullopt) const;
  std::int64_t largest_size() const { return largest_size_; }
  double number(const std::string& key, double lowest, double highest) const;
  bool boolean(const std::string& key) const;
  /// One of `choices`.
  std::string choice(const std::string& key, const std::vector<std::string>& choices) const;
  /// "a+b" -> {"a", "b"}; empty where the setting is.
  std::vector<std::string> list(const std::string& key) const;
  /// "0+2" -> {0, 2}; empty where the setting is.
  std::vector<std::int64_t> integers(const std::string& key, std::int64_t lowest) const;
  /// "query~16+value~4" -> {{"query", 16}, {"value", 4}}, in that order; empty where the setting is.
  std::vector<std::pair<std::string, double>> pattern(const std::string& key, double lowest, double highest) const;

 private:
  [[noreturn]] void refuse(const std::string& key, const std::string& expected) const;

  std::string method_;
  std::int64_t largest_size_;
  std::map<std::string, std::string> values_;
};

}  // namespace dtrain::peft
