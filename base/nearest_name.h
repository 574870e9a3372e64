#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dtrain {

/// The known name closest to `name` by edit distance, or an empty string when none is near enough to be what was meant.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

/// "; did you mean 'x'?" or nothing, to append to a message about an unknown name.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& known);

}  // namespace dtrain
