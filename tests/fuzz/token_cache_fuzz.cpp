// A file of the token cache, whose digest is put right, as whoever makes such a file can.

#include <algorithm>
#include <cstring>

#include "base/digest.h"
#include "data/token_dataset.h"
#include "tests/fuzz/fuzz_target.h"

namespace {

using namespace dtrain;

// A token a character.
class CharacterTokenizer final : public data::Tokenizer {
 public:
  data::TokenizedText tokenize(std::string_view text, const std::string_view* pair, std::int32_t) const override {
    data::TokenizedText tokens;
    for (const char letter : text) tokens.ids.push_back(letter - 'a');
    tokens.second_segment = static_cast<std::int32_t>(tokens.ids.size());
    if (pair == nullptr) return tokens;
    for (const char letter : *pair) tokens.ids.push_back(letter - 'a');
    return tokens;
  }
  std::int64_t vocabulary_size() const override { return 26; }
  std::string digest() const override { return "characters"; }
};

constexpr std::size_t kDigestAt = 32;
constexpr std::size_t kHeader = 48;
constexpr std::int32_t kMaxLength = 8;

std::string with_its_digest(std::string content) {
  if (content.size() < kHeader) return content;
  Digest digest;
  digest.add(content.data(), kDigestAt);
  digest.add(content.data() + kHeader, content.size() - kHeader);
  const Digest::Value value = digest.value();
  std::memcpy(content.data() + kDigestAt, &value, sizeof value);
  return content;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto directory = fuzz::scratch() / "tokens";
  data::LabelledTexts texts;
  texts.has_pairs = true;
  texts.rows = {{.text = "abc", .pair = "de", .label = "x"}, {.text = "z", .pair = "", .label = "y"}};
  const CharacterTokenizer tokenizer;
  const auto tokenized = [&] {
    return data::tokenize(texts, data::Targets::of_classes({0, 1}, 2), tokenizer,
                          {.max_length = kMaxLength, .threads = 1, .cache_directory = directory}, Log());
  };
  static const std::filesystem::path file = [&] {
    std::filesystem::remove_all(directory);
    tokenized();
    return std::filesystem::directory_iterator(directory)->path();
  }();
  fuzz::write(file, with_its_digest(std::string(fuzz::text_of(data, size))));
  fuzz::read_or_refuse([&] {
    const auto set = tokenized();
    fuzz::require(set.size() == 2, "as many examples as texts");
    fuzz::require(set.truncated() <= set.size(), "no more texts cut than there are");
    for (std::int64_t i = 0; i < set.size(); ++i) {
      const auto example = set.example(i);
      fuzz::require(example.ids.size() <= static_cast<std::size_t>(kMaxLength), "at most as many tokens as asked for");
      fuzz::require(example.second_segment >= 0 && example.second_segment <= set.length(i), "a second segment within");
      fuzz::require(std::all_of(example.ids.begin(), example.ids.end(), [](int id) { return id >= 0 && id < 26; }),
                    "ids within the vocabulary");
    }
  });
  return 0;
}
