#include "train/attach_context.h"

#include <limits>

#include "data/tokenizers/tokenizer.h"

namespace dtrain::train {

peft::AttachContext attach_context(std::uint64_t seed) {
  return {.seed = seed, .tokenize = [](const std::string& text, const std::filesystem::path& directory) {
            const auto tokenizer = data::load_tokenizer(directory);
            return peft::TextTokens{tokenizer->tokenize(text, nullptr, std::numeric_limits<std::int32_t>::max()).ids,
                                    tokenizer->vocabulary_size()};
          }};
}

}  // namespace dtrain::train
