#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dtrain::model {

/// Beyond every encoder there is; a larger size is an error in the file, and would take all memory to find out.
inline constexpr std::int64_t kWidest = 1 << 17;
inline constexpr std::int64_t kMostLayers = 1'000;
inline constexpr std::int64_t kMostTokens = 1 << 24;

/// Typed access to the keys of a config.json. Everything throws InputError naming file, key, what was expected and what
/// was found.
class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& document, std::filesystem::path path)
      : document_(document), path_(std::move(path)) {}

  bool has(const char* key) const { return document_.contains(key); }
  /// A whole number from 1 to `most`; `fallback` where the key is missing.
  std::int64_t size(const char* key, std::int64_t fallback, std::int64_t most) const;
  /// A number from `lowest` to below `below`; `fallback` where the key is missing or null.
  double number(const char* key, double fallback, double lowest, double below) const;
  /// A whole number from 0 to below `below`; `fallback` where the key is missing, `none` (or `fallback`) where it is
  /// null.
  std::int64_t index(const char* key, std::int64_t fallback, std::int64_t below,
                     std::optional<std::int64_t> none = std::nullopt) const;
  /// A string; `fallback` where the key is missing or null.
  std::string text(const char* key, const std::string& fallback) const;

  /// One of `choices`; `fallback` where the key is missing or null.
  std::string choice(const char* key, const std::string& fallback, const std::vector<std::string>& choices) const;

  const std::filesystem::path& path() const { return path_; }

 private:
  const nlohmann::json& document_;
  std::filesystem::path path_;
};

}  // namespace dtrain::model
