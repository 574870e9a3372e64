#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "study/statistics/statistics.h"

namespace dtrain::study {

/// The difference of two methods at a sample count.
struct DifferenceAt {
  std::int64_t samples = 0;
  PairedDifference difference;
};

/// Where a difference that is linear in the logarithm of the sample count reaches a level.
struct Crossover {
  double samples = 0;
  /// 95 %, in samples; nothing where the slope is not shown, so that it may lie anywhere.
  std::optional<Interval> interval;
};

/// Least squares of the differences over log(samples), and Fieller's interval (1954) of where the line reaches `level`.
/// The error of a point is its seeds' (pooled over the counts), or the scatter around the line where that is larger at
/// 5 % (F test of the fit); the error of the test examples moves all points alike. Nothing for fewer than three counts,
/// a pair with one seed, or a line that never gets there.
std::optional<Crossover> crossover(const std::vector<DifferenceAt>& points, double level);

}  // namespace dtrain::study
