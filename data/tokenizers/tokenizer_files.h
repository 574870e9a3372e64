#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"

namespace dtrain::data {

/// What a model directory says of its tokenizer, read once for the loaders of every kind.
struct TokenizerFiles {
  std::filesystem::path directory;
  /// tokenizer.json and tokenizer_config.json; empty objects where there is no such file.
  nlohmann::json pipeline = nlohmann::json::object();
  nlohmann::json options = nlohmann::json::object();

  std::filesystem::path path(const char* name) const { return directory / name; }
  bool has(const char* name) const { return std::filesystem::exists(directory / name); }
  /// The model of tokenizer.json ("WordPiece", "BPE", ...), for an older one without a type what it must be; empty
  /// without that file.
  std::string model() const;
  /// transformers' name of the tokenizer's class, `fallback` where nothing says it.
  std::string tokenizer_class(const std::string& fallback) const;
  /// Whether that class is the generic one, which takes the whole of tokenizer.json. The class of one architecture
  /// takes the vocabulary alone from it.
  bool is_generic() const;
  /// Those of a tokenizer's files that are there, to copy beside a saved model.
  std::vector<std::filesystem::path> present() const;
};

/// Throws InputError naming the file that is not a JSON object.
TokenizerFiles read_tokenizer_files(const std::filesystem::path& directory);

/// Throws InputError naming a file that is not a JSON object.
nlohmann::json read_json_object(const std::filesystem::path& path);

/// A JSON value as a message shows it: its first characters.
std::string shown(const nlohmann::json& value);

/// `object[key]`, null where it is missing.
const nlohmann::json& member(const nlohmann::json& object, const char* key);

/// The value of a key, `fallback` where it is missing or null. Throws InputError naming file and key where it is of
/// another type.
template <typename Value>
Value value_or(const nlohmann::json& object, const char* key, Value fallback, const std::filesystem::path& path) {
  const nlohmann::json& value = member(object, key);
  if (value.is_null()) return fallback;
  try {
    return value.get<Value>();
  } catch (const nlohmann::json::exception&) {
    throw InputError(
        fmt::format("{}: '{}': {} is not the kind of value that belongs there", path.string(), key, shown(value)));
  }
}

}  // namespace dtrain::data
