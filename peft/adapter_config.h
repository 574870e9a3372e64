#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/file_keys.h"

namespace dtrain::peft {

/// An adapter_config.json that somebody else may have written. Everything throws InputError naming file and key, what
/// was expected and what was found.
class AdapterConfig {
 public:
  explicit AdapterConfig(const std::filesystem::path& path);
  /// A part of that file.
  AdapterConfig(std::filesystem::path path, nlohmann::json json)
      : path_(std::move(path)), ordered_(json), json_(std::move(json)) {}

  /// The value of a key, of the fallback's type; the fallback where the key is missing or null.
  template <typename Value>
  Value value(const std::string& key, const Value& fallback) const {
    read_.insert(key);
    const auto found = json_.find(key);
    if (found == json_.end() || found->is_null()) return fallback;
    try {
      return found->template get<Value>();
    } catch (const nlohmann::json::exception&) {
      refuse_type(key);
    }
  }
  /// A list of strings; a single string is a list of one. Empty where the key is missing or null.
  std::vector<std::string> strings(const std::string& key) const;
  /// The names within the object that a key has, in the order of the file.
  std::vector<std::string> names_in_order(const std::string& key) const;
  const nlohmann::json& json() const { return json_; }
  const std::filesystem::path& path() const { return path_; }

  /// Refuses a key that changes what the adapter computes in a way that dtrain does not.
  [[noreturn]] void refuse(const std::string& key, const std::string& reason) const;
  /// Refuses a key whose value `known` refuses, and one that it does not have and that is not switched off.
  void refuse_others(const FileKeys& known) const;
  /// What refuse_others has let pass and a person should know, a sentence each.
  const std::vector<std::string>& notices() const { return notices_; }
  /// Holds the list `known` to what was read: throws std::logic_error for a key that was read and that the list does
  /// not have as heeded, and for one of `own`, a part of the list, that is heeded there and that nobody has read.
  void check_reads(const FileKeys& known, const FileKeys& own) const;

 private:
  [[noreturn]] void refuse_type(const std::string& key) const;

  std::filesystem::path path_;
  nlohmann::ordered_json ordered_;
  nlohmann::json json_;  // the same, its keys sorted
  mutable std::set<std::string> read_;
  mutable std::vector<std::string> notices_;
};

}  // namespace dtrain::peft
