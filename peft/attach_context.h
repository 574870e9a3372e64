#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace dtrain::peft {

/// The ids of all tokens of a text, special ones included, by the tokenizer in a directory. Throws InputError where it
/// holds none.
using TokenizeText =
    std::function<std::vector<std::int32_t>(const std::string& text, const std::filesystem::path& tokenizer)>;

/// What a method is given when it is attached to a model.
struct AttachContext {
  /// Of what it draws.
  std::uint64_t seed = 0;
  /// For a prompt that starts from a text. Unset: the caller has no tokenizers, and such a prompt is refused.
  TokenizeText tokenize = {};
};

}  // namespace dtrain::peft
