#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dtrain::data {

/// Cuts the ends of a pair (`right` is empty for a single text) so that both fit in `room` tokens, as the `tokenizers`
/// package's LongestFirst. Returns whether anything was cut.
bool truncate_longest_first(std::vector<std::int32_t>& left, std::vector<std::int32_t>& right, std::size_t room);

}  // namespace dtrain::data
