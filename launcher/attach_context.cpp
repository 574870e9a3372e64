#include "launcher/attach_context.h"

#include <limits>

#include "data/tokenizers/tokenizer.h"

namespace dtrain::launcher {

peft::TextTokens tokenize_text(const std::string& text, const std::filesystem::path& directory) {
  const auto tokenizer = data::load_tokenizer(directory);
  return {tokenizer->tokenize(text, nullptr, std::numeric_limits<std::int32_t>::max()).ids,
          tokenizer->vocabulary_size()};
}

peft::AttachContext attach_context(std::uint64_t seed) { return {.seed = seed, .tokenize = tokenize_text}; }

}  // namespace dtrain::launcher
