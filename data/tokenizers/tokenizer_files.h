#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json_file.h"

namespace dtrain::data {

/// transformers' tokenizer classes, as far as they differ here. The class of one architecture takes vocabulary, merges,
/// added tokens and the side of truncation from tokenizer.json and its options from tokenizer_config.json; the generic
/// class takes all from tokenizer.json.
enum class TokenizerClass { bert, distilbert, roberta, generic };

/// What a model directory says of its tokenizer, read once for the loaders of every kind.
struct TokenizerFiles {
  std::filesystem::path directory;
  /// tokenizer.json and tokenizer_config.json; empty objects where there is no such file.
  nlohmann::json pipeline = nlohmann::json::object();
  nlohmann::json options = nlohmann::json::object();
  /// The class that transformers' AutoTokenizer would take: tokenizer_config.json's `tokenizer_class`, config.json's
  /// where that has none, else that of the model in tokenizer.json or of the vocabulary's file.
  TokenizerClass tokenizer_class = TokenizerClass::bert;
  /// Keys that nothing is known of, for a person to read.
  std::vector<std::string> notes;

  std::filesystem::path path(const char* name) const { return directory / name; }
  bool has(const char* name) const { return std::filesystem::exists(directory / name); }
  /// The model of tokenizer.json ("WordPiece", "BPE", ...), for an older one without a type what it must be; empty
  /// without that file.
  std::string model() const;
  bool is_generic() const { return tokenizer_class == TokenizerClass::generic; }
  /// tokenizer_config.json's `truncation_side`, else that of tokenizer.json; "right" or "left".
  std::string truncation_side() const;
  /// Whether transformers gives the model token types: `model_input_names`, or the class's own.
  bool has_token_types() const;
};

/// Throws InputError naming the file that is not a JSON object, and file and key of what is not supported.
TokenizerFiles read_tokenizer_files(const std::filesystem::path& directory);

/// Throws InputError: the value of a key is not supported, and what is.
[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& key, const nlohmann::json& found,
                         const std::string& expected);

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
        fmt::format("{}: '{}': {} is not the kind of value that belongs there", path.string(), key, shown_json(value)));
  }
}

}  // namespace dtrain::data
