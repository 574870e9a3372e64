#pragma once

#include <cstdint>

#include "peft/attach_context.h"

namespace dtrain::train {

/// What a method is attached with: the seed of what it draws, and data's tokenizers for a prompt that starts from a
/// text. Its `tokenize` throws InputError where the directory holds no tokenizer.
peft::AttachContext attach_context(std::uint64_t seed);

}  // namespace dtrain::train
