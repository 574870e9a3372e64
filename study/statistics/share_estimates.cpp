#include "study/statistics/share_estimates.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

namespace dtrain::study {
namespace {

constexpr double kNormalQuantile = 1.959963984540054;  // of .975

ShareEstimate from_differences(const SeedScores& differences) {
  const PairedDifference difference = paired_difference(differences);
  return {difference.mean, difference.interval(0.95)};
}

}  // namespace

nlohmann::json estimate_json(const ShareEstimate& estimate) {
  return {{"value", estimate.value}, {"low", estimate.interval.low}, {"high", estimate.interval.high}};
}

ShareEstimate share_estimate(const SeedScores& scores) {
  if (scores.size() > 1) {
    ShareEstimate estimate = from_differences(scores);
    estimate.interval = {std::max(0.0, estimate.interval.low), std::min(1.0, estimate.interval.high)};
    return estimate;
  }
  const auto& row = scores.front();
  const auto right = static_cast<std::int64_t>(std::lround(std::accumulate(row.begin(), row.end(), 0.0)));
  const auto examples = static_cast<std::int64_t>(row.size());
  return {static_cast<double>(right) / static_cast<double>(examples), proportion_interval(right, examples, 0.95)};
}

ShareEstimate difference_estimate(const SeedScores& before, const SeedScores& after) {
  const std::size_t seeds = std::max(before.size(), after.size());
  SeedScores differences;
  for (std::size_t seed = 0; seed < seeds; ++seed) {
    const auto& first = before[std::min(seed, before.size() - 1)];
    const auto& second = after[std::min(seed, after.size() - 1)];
    auto& row = differences.emplace_back();
    for (std::size_t i = 0; i < first.size(); ++i) row.push_back(second[i] - first[i]);
  }
  if (seeds > 1) return from_differences(differences);
  const auto& row = differences.front();
  const auto examples = static_cast<double>(row.size());
  const auto gained = static_cast<double>(std::count_if(row.begin(), row.end(), [](double d) { return d > 0; }));
  const auto lost = static_cast<double>(std::count_if(row.begin(), row.end(), [](double d) { return d < 0; }));
  const double up = (gained + 1) / (examples + 2);
  const double down = (lost + 1) / (examples + 2);
  const double centre = up - down;
  const double half = kNormalQuantile * std::sqrt((up + down - centre * centre) / (examples + 2));
  return {(gained - lost) / examples, {std::max(-1.0, centre - half), std::min(1.0, centre + half)}};
}

}  // namespace dtrain::study
