#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace dtrain::launcher {

/// Which of `count` ranks that share something this one is, from 0.
struct Place {
  int index = 0;
  int count = 0;
};

/// The place of `rank` among the ranks whose text is the same as its own. Ranks that were given the same cores or GPUs
/// share them out; ranks that were given their own keep them.
inline Place place_among_equals(const std::vector<std::string>& texts, int rank) {
  const auto mine = texts.begin() + rank;
  return {static_cast<int>(std::count(texts.begin(), mine, *mine)),
          static_cast<int>(std::count(texts.begin(), texts.end(), *mine))};
}

}  // namespace dtrain::launcher
