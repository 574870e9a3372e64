#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dtrain::data {

/// One spelling for all of a decimal number: "1" for 1, 1.0, +1 and 1e0, "-0.5" for -.50. Nothing for what is no
/// number, which what begins with a needless zero (007, a code) is not either. Exact: numbers of any length stay apart.
std::optional<std::string> canonical_number(std::string_view text);

}  // namespace dtrain::data
