#include "data/tokenizers/wordpiece_tokenizer.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/atomic_file.h"
#include "base/error.h"
#include "data/tokenizers/added_tokens.h"
#include "data/tokenizers/text_normalizer.h"
#include "data/tokenizers/truncation.h"

namespace dtrain::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kLongestWord = 100;  // in code points; a longer one is unknown
constexpr const char* kContinuation = "##";

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return XXH3_64bits(text.data(), text.size()); }
};
template <typename Value>
using TextMap = std::unordered_map<std::string, Value, TextHash, std::equal_to<>>;

class WordPieceTokenizer final : public Tokenizer {
 public:
  explicit WordPieceTokenizer(WordPieceConfig config) : config_(std::move(config)) {
    for (std::size_t id = 0; id < config_.vocabulary.size(); ++id) {
      const std::string& token = config_.vocabulary[id];
      longest_piece_ = std::max(longest_piece_, token.size());
      // Of a token that is listed twice, Hugging Face keeps the later id. "##a" is also the beginning of a word that is
      // spelled so.
      beginnings_.insert_or_assign(token, static_cast<std::int32_t>(id));
      if (token.starts_with(kContinuation))
        continuations_.insert_or_assign(token.substr(2), static_cast<std::int32_t>(id));
    }
    std::vector<AddedToken> added;
    for (const std::string& token : config_.special) {
      const auto found = beginnings_.find(token);
      if (found != beginnings_.end()) added.push_back({.content = token, .id = found->second});
    }
    added_ = AddedTokens(added);
    unknown_ = special_id(config_.unknown);
    first_ = special_id(config_.first);
    separator_ = special_id(config_.separator);
    normalizer_ = {config_.lower_case, config_.strip_accents.value_or(config_.lower_case), config_.split_chinese};
  }

  TokenizedText tokenize(std::string_view text, const std::string_view* pair, std::int32_t max_length) const override {
    const std::size_t added = pair == nullptr ? 2 : 3;
    if (max_length < static_cast<std::int32_t>(added)) {
      throw UsageError(fmt::format("--max-length {} cannot hold the {} special tokens", max_length, added));
    }
    std::vector<std::int32_t> left;
    std::vector<std::int32_t> right;
    append_ids(text, left);
    if (pair != nullptr) append_ids(*pair, right);
    const std::size_t room = static_cast<std::size_t>(max_length) - added;
    TokenizedText result;
    result.truncated = truncate_longest_first(left, right, room);
    result.ids.reserve(left.size() + right.size() + added);
    result.ids.push_back(first_);
    result.ids.insert(result.ids.end(), left.begin(), left.end());
    result.ids.push_back(separator_);
    result.second_segment = static_cast<std::int32_t>(result.ids.size());
    if (pair != nullptr) {
      result.ids.insert(result.ids.end(), right.begin(), right.end());
      result.ids.push_back(separator_);
    }
    return result;
  }

  std::int64_t vocabulary_size() const override { return static_cast<std::int64_t>(config_.vocabulary.size()); }

  std::string digest() const override {
    std::string content =
        fmt::format("wordpiece 1 {} {} {} {} {} {}\n", normalizer_.lower_case, normalizer_.strip_accents,
                    normalizer_.split_chinese, config_.unknown, config_.first, config_.separator);
    for (const auto& token : config_.special) content += token + "\n";
    for (const auto& token : config_.vocabulary) content += token + "\n";
    const auto hash = XXH3_128bits(content.data(), content.size());
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  }

  std::vector<fs::path> files() const override { return config_.files; }

 private:
  std::int32_t special_id(const std::string& token) const {
    const auto found = beginnings_.find(token);
    if (found == beginnings_.end()) {
      throw InputError(fmt::format("{}: the special token '{}' is not in the vocabulary",
                                   config_.files.empty() ? "tokenizer" : config_.files.front().string(), token));
    }
    return found->second;
  }

  void append_ids(std::string_view text, std::vector<std::int32_t>& out) const {
    for (const TextPart& part : added_.split(text)) {
      if (part.id >= 0) {
        out.push_back(part.id);
      } else {
        append_plain(part.text, out);
      }
    }
  }

  void append_plain(std::string_view text, std::vector<std::int32_t>& out) const {
    std::vector<std::string> words;
    append_words(text, normalizer_, words);
    for (const std::string& word : words) append_pieces(word, out);
  }

  void append_pieces(std::string_view word, std::vector<std::int32_t>& out) const {
    const std::size_t size_before = out.size();
    if (word.size() > kLongestWord && code_points(word) > kLongestWord) {
      out.push_back(unknown_);
      return;
    }
    std::size_t begin = 0;
    while (begin < word.size()) {
      const auto& pieces = begin == 0 ? beginnings_ : continuations_;
      std::size_t length = std::min(word.size() - begin, longest_piece_);
      auto found = pieces.end();
      for (; length > 0; --length) {
        found = pieces.find(word.substr(begin, length));
        if (found != pieces.end()) break;
      }
      if (length == 0) {
        out.resize(size_before);
        out.push_back(unknown_);
        return;
      }
      out.push_back(found->second);
      begin += length;
    }
  }

  WordPieceConfig config_;
  NormalizerOptions normalizer_;
  TextMap<std::int32_t> beginnings_;     // every token
  TextMap<std::int32_t> continuations_;  // "##" tokens, without the mark
  AddedTokens added_;
  std::size_t longest_piece_ = 0;
  std::int32_t unknown_ = 0;
  std::int32_t first_ = 0;
  std::int32_t separator_ = 0;
};

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

// A token that Hugging Face splits off the text before anything else; one beyond the vocabulary extends it.
void add_token(const json& token, std::size_t id, const fs::path& path, WordPieceConfig& config) {
  const auto content = token.at("content").get<std::string>();
  for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) {
    if (token.value(flag, false))
      throw InputError(fmt::format("{}: added token '{}': '{}' is not supported", path.string(), content, flag));
  }
  if (id == config.vocabulary.size()) config.vocabulary.push_back(content);
  if (id >= config.vocabulary.size() || config.vocabulary[id] != content) {
    throw InputError(
        fmt::format("{}: added token '{}': its id {} is neither its own in the vocabulary nor the next, {}",
                    path.string(), content, id, config.vocabulary.size()));
  }
  if (std::find(config.special.begin(), config.special.end(), content) == config.special.end())
    config.special.push_back(content);
}

// What a generic tokenizer class takes from tokenizer.json.
void read_pipeline(const json& document, const fs::path& path, WordPieceConfig& config) {
  const json& normalizer = document.at("normalizer");
  const json& model = document.at("model");
  const bool is_bert = normalizer.is_object() && normalizer.value("type", "") == "BertNormalizer" &&
                       normalizer.value("clean_text", true) &&
                       document.at("pre_tokenizer").value("type", "") == "BertPreTokenizer" &&
                       model.value("continuing_subword_prefix", kContinuation) == kContinuation &&
                       model.value("max_input_chars_per_word", kLongestWord) == kLongestWord;
  if (!is_bert) {
    throw InputError(fmt::format(
        "{}: expected BERT's tokenizer (BertNormalizer with clean_text, BertPreTokenizer, words of at most "
        "{} characters, continued by '{}'), found normalizer {}, pre_tokenizer {}",
        path.string(), kLongestWord, kContinuation, normalizer.dump(), document.at("pre_tokenizer").dump()));
  }
  config.lower_case = normalizer.value("lowercase", true);
  config.split_chinese = normalizer.value("handle_chinese_chars", true);
  if (normalizer.contains("strip_accents") && normalizer["strip_accents"].is_boolean())
    config.strip_accents = normalizer["strip_accents"].get<bool>();
  config.unknown = model.value("unk_token", config.unknown);
}

void read_tokenizer_json(const json& document, const fs::path& path, bool with_pipeline, WordPieceConfig& config) {
  const json& model = document.at("model");
  if (!model.contains("vocab") || !model["vocab"].is_object())
    throw InputError(fmt::format("{}: expected a WordPiece model with a vocabulary", path.string()));
  config.vocabulary.assign(model["vocab"].size(), "");
  for (const auto& [token, id] : model["vocab"].items()) {
    if (!id.is_number_unsigned() || id.get<std::size_t>() >= config.vocabulary.size()) {
      throw InputError(fmt::format("{}: token '{}': expected an id below {}, found {}", path.string(), token,
                                   config.vocabulary.size(), id.dump()));
    }
    config.vocabulary[id.get<std::size_t>()] = token;
  }
  if (with_pipeline) read_pipeline(document, path, config);
  for (const auto& token : document.value("added_tokens", json::array()))
    add_token(token, token.at("id").get<std::size_t>(), path, config);
}

// The options and special tokens of tokenizer_config.json, which is empty where there is none.
void read_options(const json& document, WordPieceConfig& config) {
  config.lower_case = document.value("do_lower_case", true);
  config.split_chinese = document.value("tokenize_chinese_chars", true);
  if (document.contains("strip_accents") && document["strip_accents"].is_boolean())
    config.strip_accents = document["strip_accents"].get<bool>();
}

void read_named_tokens(const json& document, const fs::path& path, WordPieceConfig& config) {
  const auto named = [&](const char* key, std::string& token) {
    if (!document.contains(key) || document[key].is_null()) return;
    token =
        document[key].is_object() ? document[key].at("content").get<std::string>() : document[key].get<std::string>();
  };
  std::string padding = "[PAD]";
  std::string mask = "[MASK]";
  named("unk_token", config.unknown);
  named("cls_token", config.first);
  named("sep_token", config.separator);
  named("pad_token", padding);
  named("mask_token", mask);
  for (const std::string& token : {config.unknown, config.separator, padding, config.first, mask}) {
    if (std::find(config.special.begin(), config.special.end(), token) == config.special.end())
      config.special.push_back(token);
  }
  std::map<std::size_t, json> added;  // by id, as text they are out of order
  const json decoder = document.value("added_tokens_decoder", json::object());
  for (const auto& [id, token] : decoder.items()) added.emplace(json::parse(id).get<std::size_t>(), token);
  for (const auto& [id, token] : added) add_token(token, id, path, config);
}

}  // namespace

std::unique_ptr<Tokenizer> make_wordpiece_tokenizer(WordPieceConfig config) {
  return std::make_unique<WordPieceTokenizer>(std::move(config));
}

std::unique_ptr<Tokenizer> load_wordpiece_tokenizer(const TokenizerFiles& files) {
  const fs::path whole = files.path("tokenizer.json");
  const fs::path vocabulary = files.path("vocab.txt");
  const fs::path options = files.path("tokenizer_config.json");
  const bool has_whole = files.has("tokenizer.json");
  if (has_whole ? files.model() != "WordPiece" : !files.has("vocab.txt")) return nullptr;
  WordPieceConfig config;
  fs::path reading = options;
  try {
    // transformers' BertTokenizer takes the vocabulary alone from tokenizer.json; its generic class takes it all.
    const bool generic = files.is_generic();
    if (!generic) read_options(files.options, config);
    reading = has_whole ? whole : vocabulary;
    if (has_whole) {
      read_tokenizer_json(files.pipeline, whole, generic, config);
    } else {
      read_vocabulary_text(vocabulary, config);
    }
    reading = options;
    read_named_tokens(files.options, options, config);
  } catch (const json::exception& error) {
    throw InputError(fmt::format("{}: not what a tokenizer's file holds: {}", reading.string(), error.what()));
  }
  config.files = files.present();
  return make_wordpiece_tokenizer(std::move(config));
}

}  // namespace dtrain::data
