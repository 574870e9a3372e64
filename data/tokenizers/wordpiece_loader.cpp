#include "data/tokenizers/wordpiece_loader.h"

#include <algorithm>
#include <utility>

#include "base/atomic_file.h"
#include "data/tokenizers/post_processor.h"
#include "data/tokenizers/special_tokens.h"
#include "data/tokenizers/tokenizer_keys.h"
#include "data/tokenizers/wordpiece_tokenizer.h"

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Finding the pieces of a word takes the cube of its length where the vocabulary has pieces as long.
constexpr std::size_t kLongestWord = 1'000;

void read_vocabulary_text(const fs::path& path, WordPieceConfig& config) {
  const std::string content = read_file(path);
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    std::string token = content.substr(begin, end - begin);
    if (token.ends_with('\r')) token.pop_back();
    config.vocabulary.push_back(std::move(token));
    begin = end + 1;
  }
  while (!config.vocabulary.empty() && config.vocabulary.back().empty()) config.vocabulary.pop_back();
}

void read_vocabulary(const json& tokens, const fs::path& path, WordPieceConfig& config) {
  if (!tokens.is_object())
    throw InputError(fmt::format("{}: expected a WordPiece model with a vocabulary", path.string()));
  config.vocabulary.assign(tokens.size(), "");
  std::vector<bool> taken(tokens.size());
  for (const auto& [token, id] : tokens.items()) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= config.vocabulary.size()) {
      throw InputError(fmt::format("{}: token '{}': expected an id below {}, found {}", path.string(), token,
                                   config.vocabulary.size(), shown_json(id)));
    }
    const auto place = id.get<std::size_t>();
    if (taken[place]) {
      throw InputError(fmt::format("{}: the tokens '{}' and '{}' have the same id, {}", path.string(),
                                   config.vocabulary[place], token, place));
    }
    taken[place] = true;
    config.vocabulary[place] = token;
  }
}

// What the generic class takes from tokenizer.json.
void read_pipeline(const TokenizerFiles& files, const TokenIds& ids, const std::vector<AddedToken>& added,
                   WordPieceConfig& config) {
  const fs::path path = files.path("tokenizer.json");
  for (const char* part : {"normalizer", "pre_tokenizer"}) {
    const json& object = member(files.pipeline, part);
    if (!object.is_object() || !object.contains("type"))
      refuse(path, part, object, "BERT's: BertNormalizer and BertPreTokenizer");
    check_keys(object, wordpiece_pipeline_keys(), path, fmt::format("{}.", part));
  }
  check_keys(files.pipeline["model"], wordpiece_pipeline_keys(), path, "model.");
  const json& normalizer = files.pipeline["normalizer"];
  const json& model = files.pipeline["model"];
  config.lower_case = value_or(normalizer, "lowercase", true, path);
  config.split_chinese = value_or(normalizer, "handle_chinese_chars", true, path);
  if (!member(normalizer, "strip_accents").is_null())
    config.strip_accents = value_or(normalizer, "strip_accents", false, path);
  config.longest_word = value_or<std::size_t>(model, "max_input_chars_per_word", 100, path);
  if (config.longest_word > kLongestWord)
    refuse(path, "model.max_input_chars_per_word", config.longest_word, fmt::format("at most {}", kLongestWord));
  config.unknown = special_id(value_or<std::string>(model, "unk_token", "[UNK]", path), ids, {}, path.string());
  config.layout = read_post_processor(member(files.pipeline, "post_processor"), path, ids, added);
}

// What the class of an architecture takes from tokenizer_config.json.
void read_options(const TokenizerFiles& files, const TokenIds& ids, const SpecialTokens& special,
                  WordPieceConfig& config) {
  const fs::path path = files.path("tokenizer_config.json");
  config.lower_case = value_or(files.options, "do_lower_case", true, path);
  config.split_chinese = value_or(files.options, "tokenize_chinese_chars", true, path);
  if (!member(files.options, "strip_accents").is_null())
    config.strip_accents = value_or(files.options, "strip_accents", false, path);
  config.unknown = special_id(special.unknown, ids, {}, files.directory.string());
  config.layout = {.first = special.first, .separator = special.separator, .typed = true};
}

}  // namespace

std::unique_ptr<Tokenizer> load_wordpiece_tokenizer(const TokenizerFiles& files) {
  const bool has_whole = files.has("tokenizer.json");
  if (has_whole ? files.model() != "WordPiece" : !files.has("vocab.txt")) return nullptr;
  const fs::path options = files.path("tokenizer_config.json");
  if (files.tokenizer_class == TokenizerClass::roberta)
    refuse(options, "tokenizer_class", member(files.options, "tokenizer_class"),
           "BertTokenizer with a WordPiece model");
  if (files.is_generic() && !has_whole)
    refuse(options, "tokenizer_class", member(files.options, "tokenizer_class"), "tokenizer.json with it");
  WordPieceConfig config;
  if (has_whole)
    read_vocabulary(member(files.pipeline["model"], "vocab"), files.path("tokenizer.json"), config);
  else
    read_vocabulary_text(files.path("vocab.txt"), config);
  TokenIds ids;
  // Of a token that is listed twice, Hugging Face keeps the later id.
  for (std::size_t id = 0; id < config.vocabulary.size(); ++id)
    ids.insert_or_assign(config.vocabulary[id], static_cast<std::int32_t>(id));
  SpecialTokens special = read_special_tokens(files, ids);
  if (files.is_generic())
    read_pipeline(files, ids, special.added, config);
  else
    read_options(files, ids, special, config);
  config.layout.typed = config.layout.typed && files.has_token_types();
  if (files.truncation_side() == "left") config.layout.truncation_side = TruncationSide::left;
  config.added = std::move(special.added);
  return make_wordpiece_tokenizer(std::move(config));
}

}  // namespace dtrain::data
