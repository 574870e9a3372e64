#include "data/wordpiece_tokenizer.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <functional>
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
      ids_.emplace(token, static_cast<std::int32_t>(id));
      const bool continues = token.starts_with(kContinuation);
      auto& pieces = continues ? continuations_ : beginnings_;
      const std::string piece = continues ? token.substr(2) : token;
      pieces.emplace(piece, static_cast<std::int32_t>(id));
      longest_piece_ = std::max(longest_piece_, piece.size());
    }
    // A token such as "##a" is also a beginning: of a word that is spelled so.
    for (const auto& [token, id] : ids_) beginnings_.emplace(token, id);
    longest_piece_ += 2;
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
    const auto found = ids_.find(token);
    if (found == ids_.end()) {
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

  // Special tokens are split off the raw text, the earliest and then the longest first.
  void append_ids(std::string_view text, std::vector<std::int32_t>& out) const {
    while (!text.empty()) {
      std::size_t begin = std::string_view::npos;
      const std::string* match = nullptr;
      for (const std::string& token : config_.special) {
        const std::size_t found = text.find(token);
        if (found < begin || (found == begin && match != nullptr && token.size() > match->size())) {
          begin = found;
          match = &token;
        }
      }
      append_plain(text.substr(0, begin), out);
      if (match == nullptr) return;
      out.push_back(ids_.find(*match)->second);
      text.remove_prefix(begin + match->size());
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
  TextMap<std::int32_t> ids_;
  TextMap<std::int32_t> beginnings_;
  TextMap<std::int32_t> continuations_;
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
  std::size_t begin = 0;
  while (begin < content.size()) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    std::string token = content.substr(begin, end - begin);
    if (token.ends_with('\r')) token.pop_back();
    config.vocabulary.push_back(std::move(token));
    begin = end + 1;
  }
  config.special = {"[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"};
  config.files.push_back(path);
}

// What Hugging Face's fast tokenizer would do, which reads this file rather than vocab.txt.
void read_tokenizer_json(const fs::path& path, WordPieceConfig& config) {
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
  const json normalizer = document.value("normalizer", json::object());
  if (normalizer.is_object() && normalizer.value("type", "BertNormalizer") != "BertNormalizer") {
    throw InputError(
        fmt::format("{}: expected a BertNormalizer, found '{}'", path.string(), normalizer.value("type", "")));
  }
  if (normalizer.is_object()) {
    config.lower_case = normalizer.value("lowercase", true);
    config.split_chinese = normalizer.value("handle_chinese_chars", true);
    if (normalizer.contains("strip_accents") && normalizer["strip_accents"].is_boolean()) {
      config.strip_accents = normalizer["strip_accents"].get<bool>();
    }
  }
  config.special.clear();
  for (const auto& token : document.value("added_tokens", json::array()))
    config.special.push_back(token.at("content").get<std::string>());
  config.files.push_back(path);
}

}  // namespace

std::unique_ptr<Tokenizer> make_wordpiece_tokenizer(WordPieceConfig config) {
  return std::make_unique<WordPieceTokenizer>(std::move(config));
}

std::unique_ptr<Tokenizer> load_wordpiece_tokenizer(const fs::path& model_directory) {
  WordPieceConfig config;
  if (fs::exists(model_directory / "tokenizer.json")) {
    read_tokenizer_json(model_directory / "tokenizer.json", config);
  } else if (fs::exists(model_directory / "vocab.txt")) {
    read_vocabulary_text(model_directory / "vocab.txt", config);
    const fs::path options = model_directory / "tokenizer_config.json";
    if (fs::exists(options)) {
      const json document = parse_json(options);
      config.lower_case = document.value("do_lower_case", true);
      config.split_chinese = document.value("tokenize_chinese_chars", true);
      if (document.contains("strip_accents") && document["strip_accents"].is_boolean())
        config.strip_accents = document["strip_accents"].get<bool>();
    }
  } else {
    return nullptr;
  }
  for (const char* name : {"vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}) {
    const fs::path path = model_directory / name;
    if (fs::exists(path) && std::find(config.files.begin(), config.files.end(), path) == config.files.end())
      config.files.push_back(path);
  }
  return make_wordpiece_tokenizer(std::move(config));
}

}  // namespace dtrain::data
