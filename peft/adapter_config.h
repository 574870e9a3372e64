#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace dtrain::peft {

/// An adapter_config.json that somebody else may have written. Everything throws InputError naming file and key, what
/// was expected and what was found.
class AdapterConfig {
 public:
  explicit AdapterConfig(const std::filesystem::path& path);
  /// A part of that file.
  AdapterConfig(std::filesystem::path path, nlohmann::json json) : path_(std::move(path)), json_(std::move(json)) {}

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
  const nlohmann::json& json() const { return json_; }
  const std::filesystem::path& path() const { return path_; }

  /// Refuses a key that changes what the adapter computes in a way that dtrain does not.
  [[noreturn]] void refuse(const std::string& key, const std::string& reason) const;
  /// Reads a key that has no effect here; where it says anything, notices() gives the reason.
  void ignore(const std::string& key, const std::string& reason) const;
  const std::vector<std::string>& notices() const { return notices_; }
  /// To be called when a method has read what it knows: refuses the first key that nobody read and that says anything.
  /// Null and what is empty say nothing; false and zero are taken for switched off, with a notice.
  void refuse_unread() const;

 private:
  [[noreturn]] void refuse_type(const std::string& key) const;

  std::filesystem::path path_;
  nlohmann::json json_;
  mutable std::set<std::string> read_;
  mutable std::vector<std::string> notices_;
};

/// Reads a file that must hold a JSON object.
nlohmann::json read_json_object(const std::filesystem::path& path);

}  // namespace dtrain::peft
