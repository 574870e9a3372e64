// A tokenizer's files, and texts that it cuts.

#include <array>

#include "base/log.h"
#include "data/tokenizers/tokenizer.h"
#include "tests/fuzz/fuzz_target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dtrain;
  constexpr std::array kTexts = {
      "", "a b ab [SEP] <s> x", "The \u00c9t\u00e9 of 42 \u4e2d\u6587!  \u200b \U0001f600\n",
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
  const auto directory = fuzz::scratch() / "tokenizer";
  fuzz::unpack(fuzz::text_of(data, size),
               {"tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt",
                "special_tokens_map.json", "added_tokens.json", "config.json"},
               directory);
  fuzz::read_or_refuse([&] {
    const auto tokenizer = data::load_tokenizer(directory, Log());
    static_cast<void>(tokenizer->digest());
    for (const std::string_view text : kTexts) {
      for (const std::string_view* pair : {static_cast<const std::string_view*>(nullptr), &text}) {
        const auto cut = tokenizer->tokenize(text, pair, 16);
        fuzz::require(cut.ids.size() <= 16, "at most as many tokens as asked for");
        for (const std::int32_t id : cut.ids)
          fuzz::require(id >= 0 && id < tokenizer->vocabulary_size(), "ids within the vocabulary");
      }
    }
  });
  return 0;
}
