#pragma once

#include <cstdint>
#include <vector>

namespace dtrain::study {

/// A closed range.
struct Interval {
  double low;
  double high;
};

/// The mean of a metric over the seeds of a method, and how far the mean of other seeds on the same test examples may
/// lie from it: Student's t interval.
struct SeedMean {
  double mean = 0;
  /// Sample standard deviation; NaN for one value.
  double deviation = 0;
  /// Half the 95 % interval; NaN for one value.
  double half_width = 0;
  std::int64_t seeds = 0;
};

/// Throws std::invalid_argument for no value.
SeedMean mean_over_seeds(const std::vector<double>& values);

/// The mean difference of two methods over seeds and examples, both tried with the same seeds on the same examples,
/// with the uncertainty that comes from both.
///
/// Model: difference of seed k on example i = mean + seed_k + example_i + rest_ki, all independent (two-way analysis of
/// variance without replication). The variance of the mean is then MS_seed / (K n) + (MS_example - MS_rest) / (K n):
/// what the means of the seeds scatter, plus what other examples would change for all seeds alike. Each term takes its
/// own t quantile (Banerjee, Sankhya 22, 1960), which covers at least the stated level, where one quantile with
/// Satterthwaite's degrees of freedom covers 94 % of 95 with three seeds, and the t interval over seeds alone 71 to 95
/// %.
struct PairedDifference {
  double mean = 0;
  std::int64_t seeds = 0;
  std::int64_t examples = 0;
  /// The two terms of the variance of the mean; the first is NaN with one seed.
  double seed_variance = 0;
  double example_variance = 0;
  /// MS_rest / (K n); NaN with one seed.
  double rest_variance = 0;

  /// Half the interval of a level such as 0.95; NaN with one seed.
  double half_width(double level) const;
  Interval interval(double level) const { return {mean - half_width(level), mean + half_width(level)}; }
  /// Two-sided, for a difference of zero: one minus the level whose interval touches zero. NaN with one seed.
  double p_value() const;
  /// The smallest margin within which the methods are equivalent by two one-sided tests (Schuirmann, 1987) at 2.5 %
  /// each: the far end of the 95 % interval, so that no more is ruled out than the interval that is shown does. NaN
  /// with one seed.
  double equivalence_bound() const;
};

/// `differences`: [seeds][examples], the rows of equal length, at least one seed and two examples, else
/// std::invalid_argument.
PairedDifference paired_difference(const std::vector<std::vector<double>>& differences);

/// Holm's step-down adjustment (1979) of the p-values of a family; NaN stays NaN and counts for nothing.
std::vector<double> holm(const std::vector<double>& p_values);

/// Half the 95 % interval of the difference of two accuracies on so many examples, where the methods disagree on this
/// share of them and seeds make no difference: what a study of that size can resolve at best.
double resolution(std::int64_t examples, double disagreement);

}  // namespace dtrain::study
