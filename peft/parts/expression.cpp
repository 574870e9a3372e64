#include "peft/parts/expression.h"

#include <algorithm>
#include <charconv>
#include <cstddef>

namespace dtrain::peft {
namespace {

constexpr std::size_t kLargestExpression = 4'000;

// How long the text is when every part that {N} or {N,M} repeats is written out, at most.
std::size_t written_out(const std::string& text) {
  std::size_t size = text.size();
  for (std::size_t open = text.find('{'); open != text.npos; open = text.find('{', open + 1)) {
    std::size_t most = 1;
    const char* end = text.data() + text.size();
    for (const char* at = text.data() + open + 1; at < end && *at != '}';) {
      std::size_t number = 0;
      const auto [behind, error] = std::from_chars(at, end, number);
      if (error == std::errc::result_out_of_range) return kLargestExpression + 1;
      most = std::max(most, number);
      at = std::max(behind, at + 1);
    }
    if (most > kLargestExpression || size > kLargestExpression) return kLargestExpression + 1;
    size *= most;
  }
  return size;
}

}  // namespace

std::optional<std::regex> read_expression(const std::string& text) {
  if (written_out(text) > kLargestExpression) return std::nullopt;
  try {
    // All states at once: the other way tries one after the other, which takes time without end for "(a*)*b".
    return std::regex(text, std::regex::ECMAScript | std::regex_constants::__polynomial);
  } catch (const std::regex_error&) {
    return std::nullopt;
  }
}

}  // namespace dtrain::peft
