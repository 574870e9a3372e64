#pragma once

#include <optional>
#include <regex>
#include <string>

namespace dtrain::peft {

/// A regular expression of an adapter's configuration (ECMAScript's, without back-references); nothing where the text
/// is none, or is one whose matching could take more time or stack than there is: matching is linear in the path, and
/// the length of the text times how often it says to repeat a part is at most 4,000.
std::optional<std::regex> read_expression(const std::string& text);

}  // namespace dtrain::peft
