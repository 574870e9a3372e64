#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace dtrain::model {

/// Typed access to the keys of a config.json. Everything throws InputError naming file, key, what was expected and what
/// was found.
class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& document, std::filesystem::path path)
      : document_(document), path_(std::move(path)) {}

  /// A whole number from 1; the key must be there.
  std::int64_t positive(const char* key) const;
  /// A number from `lowest` to below `below`; `fallback` where the key is missing or null.
  double number(const char* key, double fallback, double lowest, double below) const;
  /// A whole number from 0 to below `below`; `fallback` where the key is missing or null.
  std::int64_t index(const char* key, std::int64_t fallback, std::int64_t below) const;
  bool boolean(const char* key, bool fallback) const;
  /// A string; `fallback` where there is none.
  std::string text(const char* key, const std::string& fallback) const;

  /// One of `choices`; `fallback` where there is no string.
  std::string choice(const char* key, const std::string& fallback, const std::vector<std::string>& choices) const;
  /// Refuses a number that is not a multiple of another key's.
  void require_multiple(const char* key, const char* of_key) const;

  const std::filesystem::path& path() const { return path_; }

 private:
  const nlohmann::json& document_;
  std::filesystem::path path_;
};

}  // namespace dtrain::model
