#include "launcher/attach_context.h"

#include <limits>

#include "data/tokenizers/tokenizer.h"

namespace dtrain::launcher {

std::vector<std::int32_t> tokenize_text(const std::string& text, const std::filesystem::path& directory) {
  return data::load_tokenizer(directory)->tokenize(text, nullptr, std::numeric_limits<std::int32_t>::max()).ids;
}

peft::AttachContext attach_context(std::uint64_t seed) { return {.seed = seed, .tokenize = tokenize_text}; }

}  // namespace dtrain::launcher
