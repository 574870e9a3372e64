#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace dtrain::peft {

/// A text as a tokenizer gives it.
struct TextTokens {
  /// Of all its tokens, special ones included.
  std::vector<std::int32_t> ids;
  /// How many tokens the tokenizer knows.
  std::int64_t vocabulary_size = 0;
};

/// A text in the tokens of the tokenizer in a directory. Throws InputError where it holds none.
using TokenizeText = std::function<TextTokens(const std::string& text, const std::filesystem::path& tokenizer)>;

/// What a method is given when it is attached to a model.
struct AttachContext {
  /// Of what it draws.
  std::uint64_t seed = 0;
  /// For a prompt that starts from a text. Unset: the caller has no tokenizers, and such a prompt is refused.
  TokenizeText tokenize = {};
};

}  // namespace dtrain::peft
