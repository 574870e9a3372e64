#include "base/nearest_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace dtrain {
namespace {

std::size_t edit_distance(std::string_view left, std::string_view right) {
  std::vector<std::size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= left.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= right.size(); ++j) {
      const std::size_t substituted = diagonal + (left[i - 1] == right[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, substituted}));
    }
  }
  return row.back();
}

}  // namespace

std::string nearest_name(std::string_view name, const std::vector<std::string>& known) {
  // A text, no name: what follows takes the product of the lengths.
  constexpr std::size_t kLongestName = 200;
  // A file of somebody else's may hold a million names, which takes half a minute.
  constexpr std::size_t kMostKnown = 10'000;
  std::string best;
  if (name.size() > kLongestName) return best;
  std::size_t best_distance = std::max<std::size_t>(2, name.size() / 3) + 1;
  for (std::size_t i = 0; i < std::min(known.size(), kMostKnown); ++i) {
    const std::string& candidate = known[i];
    if (candidate.size() > kLongestName) continue;
    const bool begins = name.size() >= 3 && candidate.starts_with(name);
    const std::size_t edits = edit_distance(name, candidate);
    // Of '1.0' and '0' less than half is the same.
    if (!begins && 2 * edits > std::max(name.size(), candidate.size())) continue;
    const std::size_t distance = begins ? std::min<std::size_t>(edits, 1) : edits;
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view name, const std::vector<std::string>& known) {
  const std::string nearest = nearest_name(name, known);
  return nearest.empty() ? "" : fmt::format("; did you mean '{}'?", nearest);
}

}  // namespace dtrain
