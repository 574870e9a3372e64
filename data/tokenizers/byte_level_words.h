#pragma once

#include <cstddef>
#include <string_view>

namespace dtrain::data {

/// Where the word ends that begins at `begin` of a text of valid UTF-8: the next match of GPT-2's expression, by which
/// Hugging Face's ByteLevel parts a text before its byte-pair encoding (every code point is in some word),
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
std::size_t byte_level_word_end(std::string_view text, std::size_t begin);

}  // namespace dtrain::data
