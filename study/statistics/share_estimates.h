#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "study/statistics/statistics.h"

namespace dtrain::study {

/// A share of test examples, or a difference of two, with its 95 % interval.
struct ShareEstimate {
  double value = 0;
  Interval interval{0, 0};

  bool excludes_zero() const { return interval.low > 0 || interval.high < 0; }
};
nlohmann::json estimate_json(const ShareEstimate& estimate);

/// The score of each test example (1 right, 0 wrong), for each seed; one seed, or none, is one row.
using SeedScores = std::vector<std::vector<double>>;

/// The share that is right. Of one seed Clopper and Pearson's exact interval, which knows of other test examples and of
/// no other seed; of several that of paired_difference, which knows of both.
ShareEstimate share_estimate(const SeedScores& scores);

/// `after` minus `before` on the same examples. Of one seed the interval of Bonett and Price (2012) for paired
/// proportions, of other test examples only; of several that of paired_difference. A side with one row has no seed (an
/// optimum), and is held against each seed of the other.
ShareEstimate difference_estimate(const SeedScores& before, const SeedScores& after);

}  // namespace dtrain::study
