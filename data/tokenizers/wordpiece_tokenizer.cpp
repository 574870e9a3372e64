#include "data/tokenizers/wordpiece_tokenizer.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <functional>
#include <unordered_map>

#include "data/tokenizers/text_normalizer.h"

namespace dtrain::data {
namespace {

constexpr const char* kContinuation = "##";

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return XXH3_64bits(text.data(), text.size()); }
};
template <typename Value>
using TextMap = std::unordered_map<std::string, Value, TextHash, std::equal_to<>>;

class WordPieceTokenizer final : public Tokenizer {
 public:
  explicit WordPieceTokenizer(WordPieceConfig config)
      : config_(std::move(config)),
        normalizer_{config_.lower_case, config_.strip_accents.value_or(config_.lower_case), config_.split_chinese} {
    for (std::size_t id = 0; id < config_.vocabulary.size(); ++id) {
      const std::string& token = config_.vocabulary[id];
      longest_piece_ = std::max(longest_piece_, token.size());
      // Of a token that is listed twice, Hugging Face keeps the later id. "##a" is also the beginning of a word that is
      // spelled so.
      beginnings_.insert_or_assign(token, static_cast<std::int32_t>(id));
      if (token.starts_with(kContinuation))
        continuations_.insert_or_assign(token.substr(2), static_cast<std::int32_t>(id));
    }
    size_ = static_cast<std::int64_t>(config_.vocabulary.size());
    std::vector<AddedToken> in_text;
    std::vector<AddedToken> in_normalized;
    for (const AddedToken& token : config_.added) {
      size_ = std::max<std::int64_t>(size_, token.id + 1);
      AddedToken& kept = (token.normalized ? in_normalized : in_text).emplace_back(token);
      if (token.normalized) kept.content = normalized_text(token.content, normalizer_);
    }
    added_ = AddedTokens(in_text);
    has_normalized_ = !in_normalized.empty();
    normalized_ = AddedTokens(in_normalized);
  }

  TokenizedText tokenize(std::string_view text, const std::string_view* pair, std::int32_t max_length) const override {
    std::vector<std::int32_t> left;
    std::vector<std::int32_t> right;
    append_ids(text, left);
    if (pair != nullptr) append_ids(*pair, right);
    return arrange(config_.layout, std::move(left), pair == nullptr ? nullptr : &right, max_length);
  }

  std::int64_t vocabulary_size() const override { return size_; }

  std::string digest() const override {
    std::string content =
        fmt::format("wordpiece 2 {} {} {} {} {} {}\n", normalizer_.lower_case, normalizer_.strip_accents,
                    normalizer_.split_chinese, config_.longest_word, config_.unknown, config_.layout.text());
    for (const AddedToken& token : config_.added) content += digest_text(token);
    for (const auto& token : config_.vocabulary) content += token + "\n";
    const auto hash = XXH3_128bits(content.data(), content.size());
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  }

 private:
  void append_ids(std::string_view text, std::vector<std::int32_t>& out) const {
    for (const TextPart& part : added_.split(text)) {
      if (part.id >= 0) {
        out.push_back(part.id);
      } else if (has_normalized_) {
        append_normalized(normalized_text(part.text, normalizer_), out);
      } else {
        append_plain(part.text, normalizer_, out);
      }
    }
  }

  void append_normalized(const std::string& text, std::vector<std::int32_t>& out) const {
    constexpr NormalizerOptions kWordsAlone = {.lower_case = false, .strip_accents = false, .split_chinese = false};
    for (const TextPart& part : normalized_.split(text)) {
      if (part.id >= 0)
        out.push_back(part.id);
      else
        append_plain(part.text, kWordsAlone, out);
    }
  }

  void append_plain(std::string_view text, const NormalizerOptions& options, std::vector<std::int32_t>& out) const {
    std::vector<std::string> words;
    append_words(text, options, words);
    for (const std::string& word : words) append_pieces(word, out);
  }

  void append_pieces(std::string_view word, std::vector<std::int32_t>& out) const {
    const std::size_t size_before = out.size();
    if (word.size() > config_.longest_word && code_points(word) > config_.longest_word) {
      out.push_back(config_.unknown);
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
        out.push_back(config_.unknown);
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
  AddedTokens normalized_;  // what the normalized text may hold
  bool has_normalized_ = false;
  std::size_t longest_piece_ = 0;
  std::int64_t size_ = 0;
};

}  // namespace

std::unique_ptr<Tokenizer> make_wordpiece_tokenizer(WordPieceConfig config) {
  return std::make_unique<WordPieceTokenizer>(std::move(config));
}

}  // namespace dtrain::data
