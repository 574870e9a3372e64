#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "peft/attach_context.h"

namespace dtrain::launcher {

/// All tokens of a text, special ones included, as the tokenizer in `directory` makes them: what studies give their
/// methods. Throws InputError where the directory holds no tokenizer.
std::vector<std::int32_t> tokenize_text(const std::string& text, const std::filesystem::path& directory);

/// What a method is attached with: the seed of what it draws, and tokenize_text for a prompt that starts from a text.
peft::AttachContext attach_context(std::uint64_t seed);

}  // namespace dtrain::launcher
