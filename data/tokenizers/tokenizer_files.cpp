#include "data/tokenizers/tokenizer_files.h"

#include "base/atomic_file.h"

namespace dtrain::data {

using nlohmann::json;

std::string TokenizerFiles::model() const {
  const json& description = member(pipeline, "model");
  if (!description.is_object()) return "";
  return value_or<std::string>(description, "type", description.contains("merges") ? "BPE" : "WordPiece",
                               path("tokenizer.json"));
}

std::string TokenizerFiles::tokenizer_class(const std::string& fallback) const {
  return value_or<std::string>(options, "tokenizer_class", fallback, path("tokenizer_config.json"));
}

bool TokenizerFiles::is_generic() const {
  const std::string name = tokenizer_class("");
  return name == "PreTrainedTokenizerFast" || name == "TokenizersBackend";
}

std::vector<std::filesystem::path> TokenizerFiles::present() const {
  std::vector<std::filesystem::path> found;
  for (const char* name : {"vocab.txt", "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json",
                           "special_tokens_map.json", "added_tokens.json"}) {
    if (has(name)) found.push_back(path(name));
  }
  return found;
}

TokenizerFiles read_tokenizer_files(const std::filesystem::path& directory) {
  TokenizerFiles files;
  files.directory = directory;
  if (files.has("tokenizer.json")) files.pipeline = read_json_object(files.path("tokenizer.json"));
  if (files.has("tokenizer_config.json")) files.options = read_json_object(files.path("tokenizer_config.json"));
  return files;
}

json read_json_object(const std::filesystem::path& path) {
  json document = json::parse(read_file(path), nullptr, false);
  if (!document.is_object()) throw InputError(fmt::format("{}: expected a JSON object", path.string()));
  return document;
}

std::string shown(const json& value) {
  constexpr std::size_t kLongest = 200;
  std::string text = value.dump(-1, ' ', true);  // in ASCII, so that no character is cut
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

const json& member(const json& object, const char* key) {
  static const json kMissing;
  const auto found = object.find(key);
  return found == object.end() ? kMissing : *found;
}

}  // namespace dtrain::data
