#include "data/tokenizers/sequence_layout.h"

#include <fmt/format.h>

#include "base/error.h"

namespace dtrain::data {

std::string SequenceLayout::text() const {
  return fmt::format("{} {} {} {} {}", first, separator, separators_between, typed,
                     truncation_side == TruncationSide::left ? "left" : "right");
}

TokenizedText arrange(const SequenceLayout& layout, std::vector<std::int32_t> left, std::vector<std::int32_t>* right,
                      std::int32_t max_length) {
  const std::int32_t special = right == nullptr ? 2 : 2 + layout.separators_between;
  if (max_length < special)
    throw UsageError(fmt::format("--max-length {} cannot hold the {} special tokens", max_length, special));
  std::vector<std::int32_t> none;
  std::vector<std::int32_t>& second = right == nullptr ? none : *right;
  TokenizedText result;
  result.truncated =
      truncate_longest_first(left, second, static_cast<std::size_t>(max_length - special), layout.truncation_side);
  result.ids.reserve(left.size() + second.size() + static_cast<std::size_t>(special));
  result.ids.push_back(layout.first);
  result.ids.insert(result.ids.end(), left.begin(), left.end());
  if (right != nullptr) {
    result.ids.insert(result.ids.end(), static_cast<std::size_t>(layout.separators_between), layout.separator);
    result.second_segment = static_cast<std::int32_t>(result.ids.size());
    result.ids.insert(result.ids.end(), second.begin(), second.end());
  }
  result.ids.push_back(layout.separator);
  if (right == nullptr || !layout.typed) result.second_segment = static_cast<std::int32_t>(result.ids.size());
  return result;
}

}  // namespace dtrain::data
