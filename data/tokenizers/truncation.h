#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dtrain::data {

/// Which end of a text is cut (`truncation_side`).
enum class TruncationSide { right, left };

/// Cuts both texts of a pair (`right` is empty for a single text) so that they fit in `room` tokens, as the
/// `tokenizers` package's LongestFirst. Returns whether anything was cut.
bool truncate_longest_first(std::vector<std::int32_t>& left, std::vector<std::int32_t>& right, std::size_t room,
                            TruncationSide side);

}  // namespace dtrain::data
