#include "data/tokenizers/byte_level_bpe_tokenizer.h"

#include <fmt/format.h>
#include <utf8cpp/utf8.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <unordered_map>

#include "data/tokenizers/byte_level_words.h"

namespace dtrain::data {
namespace {

constexpr std::int32_t kNoToken = -1;

class ByteLevelBpeTokenizer final : public Tokenizer {
 public:
  explicit ByteLevelBpeTokenizer(ByteLevelBpeConfig config)
      : config_(std::move(config)), added_(config_.added), merges_(config_.merges) {
    std::unordered_map<std::string_view, std::int32_t> ids;
    for (std::size_t id = 0; id < config_.vocabulary.size(); ++id)
      ids.emplace(config_.vocabulary[id], static_cast<std::int32_t>(id));
    for (std::size_t byte = 0; byte < byte_ids_.size(); ++byte) {
      const auto found = ids.find(byte_level_character(static_cast<std::uint8_t>(byte)));
      byte_ids_[byte] = found == ids.end() ? kNoToken : found->second;
    }
    size_ = static_cast<std::int64_t>(config_.vocabulary.size());
    for (const AddedToken& token : config_.added) size_ = std::max<std::int64_t>(size_, token.id + 1);
  }

  TokenizedText tokenize(std::string_view text, const std::string_view* pair, std::int32_t max_length) const override {
    std::vector<std::int32_t> left;
    std::vector<std::int32_t> right;
    BytePairMerges::Workspace workspace;
    append_ids(text, left, workspace);
    if (pair != nullptr) append_ids(*pair, right, workspace);
    return arrange(config_.layout, std::move(left), pair == nullptr ? nullptr : &right, max_length);
  }

  std::int64_t vocabulary_size() const override { return size_; }

  std::string digest() const override {
    std::string content = fmt::format("byte-level bpe 2 {} {} {} {}\n", config_.add_prefix_space,
                                      config_.unknown.value_or(kNoToken), config_.fuse_unknown, config_.layout.text());
    for (const AddedToken& token : config_.added) content += digest_text(token);
    for (const std::string& token : config_.vocabulary) content += fmt::format("{} {}\n", token.size(), token);
    for (const BytePairMerge& merge : config_.merges)
      content += fmt::format("{} {} {}\n", merge.left, merge.right, merge.merged);
    const auto hash = XXH3_128bits(content.data(), content.size());
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  }

 private:
  void append_ids(std::string_view text, std::vector<std::int32_t>& out, BytePairMerges::Workspace& workspace) const {
    // The readers have replaced what is not UTF-8; a caller of another kind may not have.
    if (!utf8::is_valid(text.begin(), text.end())) {
      std::string valid;
      utf8::replace_invalid(text.begin(), text.end(), std::back_inserter(valid));
      append_valid(valid, out, workspace);
    } else {
      append_valid(text, out, workspace);
    }
  }

  void append_valid(std::string_view text, std::vector<std::int32_t>& out, BytePairMerges::Workspace& workspace) const {
    for (const TextPart& part : added_.split(text)) {
      if (part.id >= 0) {
        out.push_back(part.id);
      } else if (config_.add_prefix_space && !part.text.starts_with(' ')) {
        append_words(" " + std::string(part.text), out, workspace);
      } else {
        append_words(part.text, out, workspace);
      }
    }
  }

  void append_words(std::string_view text, std::vector<std::int32_t>& out, BytePairMerges::Workspace& workspace) const {
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = byte_level_word_end(text, begin);
      const std::size_t word = out.size();
      bool after_unknown = false;
      for (; begin < end; ++begin) {
        const std::int32_t id = byte_ids_[static_cast<std::uint8_t>(text[begin])];
        if (id != kNoToken) {
          out.push_back(id);
        } else if (config_.unknown && !(after_unknown && config_.fuse_unknown)) {
          out.push_back(*config_.unknown);
        }
        after_unknown = id == kNoToken;
      }
      merges_.apply(out, word, workspace);
    }
  }

  ByteLevelBpeConfig config_;
  AddedTokens added_;
  BytePairMerges merges_;
  std::array<std::int32_t, 256> byte_ids_{};
  std::int64_t size_ = 0;
};

}  // namespace

std::unique_ptr<Tokenizer> make_byte_level_bpe_tokenizer(ByteLevelBpeConfig config) {
  return std::make_unique<ByteLevelBpeTokenizer>(std::move(config));
}

std::string byte_level_character(std::uint8_t byte) {
  // Latin-1 where it is printable (without the soft hyphen); the other bytes are written as U+0100 and on, in their
  // order.
  const auto is_printable = [](int value) {
    return (value >= 0x21 && value <= 0x7E) || (value >= 0xA1 && value <= 0xFF && value != 0xAD);
  };
  char32_t point = byte;
  if (!is_printable(byte)) {
    point = 0x100;
    for (int before = 0; before < byte; ++before) point += is_printable(before) ? 0 : 1;
  }
  std::string character;
  utf8::append(point, std::back_inserter(character));
  return character;
}

}  // namespace dtrain::data
