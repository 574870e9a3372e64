#pragma once

#include <cstddef>
#include <string_view>

namespace dtrain {

/// How many columns of a terminal a text in UTF-8 takes: two for what East Asian scripts and pictographs take
/// (Unicode's East_Asian_Width W and F), none for accents that stand over the letter before, else one.
std::size_t text_columns(std::string_view text);

}  // namespace dtrain
