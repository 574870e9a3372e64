#include "data/tokenizers/tokenizer_files.h"

#include <algorithm>
#include <array>

#include "data/tokenizers/tokenizer_keys.h"

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct NamedClass {
  const char* name;  // without the "Fast" that it may end with
  TokenizerClass is;
};
// Several names are transformers' aliases of one class; the last four are what it takes the generic class for.
constexpr std::array kClasses = {NamedClass{"BertTokenizer", TokenizerClass::bert},
                                 NamedClass{"ElectraTokenizer", TokenizerClass::bert},
                                 NamedClass{"LayoutLMTokenizer", TokenizerClass::bert},
                                 NamedClass{"LxmertTokenizer", TokenizerClass::bert},
                                 NamedClass{"MobileBertTokenizer", TokenizerClass::bert},
                                 NamedClass{"SqueezeBertTokenizer", TokenizerClass::bert},
                                 NamedClass{"DistilBertTokenizer", TokenizerClass::distilbert},
                                 NamedClass{"RobertaTokenizer", TokenizerClass::roberta},
                                 NamedClass{"BartTokenizer", TokenizerClass::roberta},
                                 NamedClass{"LEDTokenizer", TokenizerClass::roberta},
                                 NamedClass{"LongformerTokenizer", TokenizerClass::roberta},
                                 NamedClass{"MvpTokenizer", TokenizerClass::roberta},
                                 NamedClass{"PreTrainedTokenizer", TokenizerClass::generic},
                                 NamedClass{"TokenizersBackend", TokenizerClass::generic},
                                 NamedClass{"PythonBackend", TokenizerClass::generic}};

TokenizerClass class_named(const std::string& name, const fs::path& path) {
  const std::string stem = name.ends_with("Fast") ? name.substr(0, name.size() - 4) : name;
  const auto* found =
      std::find_if(kClasses.begin(), kClasses.end(), [&](const NamedClass& known) { return stem == known.name; });
  if (found != kClasses.end()) return found->is;
  refuse(path, "tokenizer_class", name,
         "BertTokenizer, DistilBertTokenizer, RobertaTokenizer or PreTrainedTokenizerFast, or one that transformers "
         "takes for one of them");
}

TokenizerClass class_of(const TokenizerFiles& files) {
  const fs::path options = files.path("tokenizer_config.json");
  if (const auto name = value_or<std::string>(files.options, "tokenizer_class", "", options); !name.empty())
    return class_named(name, options);
  if (const fs::path config = files.path("config.json"); files.has("config.json")) {
    if (const auto name = value_or<std::string>(read_json_object(config), "tokenizer_class", "", config); !name.empty())
      return class_named(name, config);
  }
  const bool is_bpe = files.has("tokenizer.json") ? files.model() == "BPE" : !files.has("vocab.txt");
  return is_bpe ? TokenizerClass::roberta : TokenizerClass::bert;
}

}  // namespace

std::string TokenizerFiles::model() const {
  const json& description = member(pipeline, "model");
  if (!description.is_object()) return "";
  return value_or<std::string>(description, "type", description.contains("merges") ? "BPE" : "WordPiece",
                               path("tokenizer.json"));
}

std::string TokenizerFiles::truncation_side() const {
  const fs::path config = path("tokenizer_config.json");
  const std::string named = value_or<std::string>(options, "truncation_side", "", config);
  if (named == "left" || named == "right") return named;
  if (!named.empty()) refuse(config, "truncation_side", named, "right or left");
  const fs::path whole = path("tokenizer.json");
  const std::string direction = value_or<std::string>(member(pipeline, "truncation"), "direction", "Right", whole);
  if (direction == "Left") return "left";
  if (direction != "Right") refuse(whole, "truncation.direction", direction, "Right or Left");
  return "right";
}

bool TokenizerFiles::has_token_types() const {
  const auto names = value_or(options, "model_input_names", std::vector<std::string>{}, path("tokenizer_config.json"));
  if (!member(options, "model_input_names").is_null())
    return std::find(names.begin(), names.end(), "token_type_ids") != names.end();
  return tokenizer_class == TokenizerClass::bert;
}

TokenizerFiles read_tokenizer_files(const fs::path& directory) {
  TokenizerFiles files;
  files.directory = directory;
  const auto read = [&](const char* name, json& document, std::span<const FileKey> keys) {
    if (!files.has(name)) return;
    document = read_json_object(files.path(name));
    for (std::string& note : check_keys(document, keys, files.path(name))) files.notes.push_back(std::move(note));
  };
  read("tokenizer.json", files.pipeline, tokenizer_json_keys());
  read("tokenizer_config.json", files.options, tokenizer_config_keys());
  files.tokenizer_class = class_of(files);
  return files;
}

void refuse(const fs::path& path, const std::string& key, const json& found, const std::string& expected) {
  throw InputError(
      fmt::format("{}: '{}': {} is not supported; expected {}", path.string(), key, shown_json(found), expected));
}

const json& member(const json& object, const char* key) {
  static const json kMissing;
  const auto found = object.find(key);
  return found == object.end() ? kMissing : *found;
}

}  // namespace dtrain::data
