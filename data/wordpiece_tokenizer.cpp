#include "data/wordpiece_tokenizer.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/atomic_file.h"
#include "base/error.h"
#include "data/text_normalizer.h"

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
    for (const std::string& token : config_.special) {
      const auto found = beginnings_.find(token);
      if (found != beginnings_.end() && !token.empty()) special_.emplace_back(token, found->second);
    }
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
    result.truncated = left.size() + right.size() > room;
    if (result.truncated) truncate(left, right, room);
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

  // As the `tokenizers` package's LongestFirst.
  static void truncate(std::vector<std::int32_t>& left, std::vector<std::int32_t>& right, std::size_t room) {
    auto* shorter = &left;
    auto* longer = &right;
    if (left.size() > right.size()) std::swap(shorter, longer);
    std::size_t short_size = shorter->size();
    std::size_t long_size = short_size > room ? short_size : std::max(short_size, room - short_size);
    if (short_size + long_size > room) {
      short_size = room / 2;
      long_size = short_size + room % 2;
    }
    shorter->resize(std::min(shorter->size(), short_size));
    longer->resize(std::min(longer->size(), long_size));
  }

  // Special tokens are split off the raw text, the earliest and then the longest first. Each is looked for again only
  // when the text has come past it: a long text full of one of them would be searched to its end for the others.
  void append_ids(std::string_view text, std::vector<std::int32_t>& out) const {
    std::vector<std::size_t> next(special_.size());
    for (std::size_t i = 0; i < next.size(); ++i) next[i] = text.find(special_[i].first);
    std::size_t begin = 0;
    while (begin < text.size()) {
      std::size_t end = text.size();
      std::size_t match = next.size();
      for (std::size_t i = 0; i < next.size(); ++i) {
        if (next[i] < begin) next[i] = text.find(special_[i].first, begin);
        const bool longer = match < next.size() && special_[i].first.size() > special_[match].first.size();
        if (next[i] < end || (next[i] == end && longer)) {
          end = next[i];
          match = i;
        }
      }
      append_plain(text.substr(begin, end - begin), out);
      if (match == next.size()) return;
      out.push_back(special_[match].second);
      begin = end + special_[match].first.size();
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
  std::vector<std::pair<std::string, std::int32_t>> special_;
  std::size_t longest_piece_ = 0;
  std::int32_t unknown_ = 0;
  std::int32_t first_ = 0;
  std::int32_t separator_ = 0;
};

json parse_json(const fs::path& path) {
  json document = json::parse(read_file(path), nullptr, false);
  if (!document.is_object()) throw InputError(fmt::format("{}: expected a JSON object", path.string()));
  return document;
}

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
  const json normalizer = document.at("normalizer");
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

void read_tokenizer_json(const fs::path& path, bool with_pipeline, WordPieceConfig& config) {
  const json document = parse_json(path);
  const json model = document.value("model", json::object());
  if (model.value("type", "WordPiece") != "WordPiece" || !model.contains("vocab") || !model["vocab"].is_object()) {
    throw InputError(fmt::format("{}: expected a WordPiece model with a vocabulary, found '{}'", path.string(),
                                 model.value("type", "none")));
  }
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

void read_special_tokens(const json& document, const fs::path& path, WordPieceConfig& config) {
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

std::unique_ptr<Tokenizer> load_wordpiece_tokenizer(const fs::path& model_directory) {
  const fs::path whole = model_directory / "tokenizer.json";
  const fs::path vocabulary = model_directory / "vocab.txt";
  const fs::path options = model_directory / "tokenizer_config.json";
  if (!fs::exists(whole) && !fs::exists(vocabulary)) return nullptr;
  WordPieceConfig config;
  fs::path reading = options;
  try {
    const json document = fs::exists(options) ? parse_json(options) : json::object();
    const std::string type = document.value("tokenizer_class", "BertTokenizer");
    // transformers' BertTokenizer takes the vocabulary alone from tokenizer.json; its generic class takes it all.
    const bool generic = type == "PreTrainedTokenizerFast" || type == "TokenizersBackend";
    if (!generic) read_options(document, config);
    reading = fs::exists(whole) ? whole : vocabulary;
    if (reading == whole) {
      read_tokenizer_json(whole, generic, config);
    } else {
      read_vocabulary_text(vocabulary, config);
    }
    reading = options;
    read_special_tokens(document, options, config);
  } catch (const json::exception& error) {
    throw InputError(fmt::format("{}: not what a tokenizer's file holds: {}", reading.string(), error.what()));
  }
  for (const char* name : {"vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}) {
    if (fs::exists(model_directory / name)) config.files.push_back(model_directory / name);
  }
  return make_wordpiece_tokenizer(std::move(config));
}

}  // namespace dtrain::data
