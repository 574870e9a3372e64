#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace dtrain {

/// A text from a file as a message shows it: on one line, and the first `most` bytes (cut between code points) with
/// "..." where it is longer.
std::string shown_text(std::string_view text, std::size_t most = 60);

/// Names from a file as a message lists them, however many and however long they are: "a, b, c and 7 more".
std::string capped_list(const std::vector<std::string>& names, std::size_t most = 10);

}  // namespace dtrain
