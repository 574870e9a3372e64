#include "data/subset.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace dtrain::data {

std::vector<std::int64_t> stratified_subset(const std::vector<std::int32_t>& labels, std::int64_t classes,
                                            std::int64_t count, std::uint64_t seed, Purpose purpose) {
  const auto total = static_cast<std::int64_t>(labels.size());
  if (count > total) {
    throw UsageError(fmt::format("--samples {} is more than the {} training examples there are", count, total));
  }
  std::vector<std::vector<std::int64_t>> members(static_cast<std::size_t>(classes));
  for (std::int64_t i = 0; i < total; ++i)
    members[static_cast<std::size_t>(labels[static_cast<std::size_t>(i)])].push_back(i);
  for (std::size_t c = 0; c < members.size(); ++c) {
    SplitMix64 random(stream_seed(seed, purpose, c));
    shuffle(members[c], random);
  }
  std::vector<std::size_t> by_size(members.size());
  std::iota(by_size.begin(), by_size.end(), std::size_t{0});
  std::stable_sort(by_size.begin(), by_size.end(),
                   [&](std::size_t left, std::size_t right) { return members[left].size() > members[right].size(); });

  // One order of all examples, of which every draw is a prefix: first one of each class, the largest class first; then
  // always the class that lags most behind its share.
  std::vector<std::int64_t> order;
  std::vector<std::int64_t> taken(members.size(), 0);
  const auto take = [&](std::size_t c) {
    order.push_back(members[c][static_cast<std::size_t>(taken[c])]);
    ++taken[c];
  };
  for (const std::size_t c : by_size) {
    if (!members[c].empty() && static_cast<std::int64_t>(order.size()) < count) take(c);
  }
  while (static_cast<std::int64_t>(order.size()) < count) {
    const auto size = static_cast<std::int64_t>(order.size()) + 1;
    std::size_t best = members.size();
    std::int64_t best_lag = 0;
    for (const std::size_t c : by_size) {
      const auto available = static_cast<std::int64_t>(members[c].size());
      if (taken[c] == available) continue;
      // share * size - taken, in units of 1 / total, so that it is exact.
      const std::int64_t lag = available * size - taken[c] * total;
      if (best == members.size() || lag > best_lag) {
        best = c;
        best_lag = lag;
      }
    }
    take(best);
  }
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace dtrain::data
