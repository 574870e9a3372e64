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

/// Of the true mean being zero, two-sided, by Student's t test over the seeds; NaN for one value. Values that are all
/// the same, but for rounding, say nothing of how far others would scatter: of them the sign test counts, 2^(1 -
/// seeds), which shows nothing with five seeds or fewer.
double p_value_of_zero(const SeedMean& mean);

/// The mean difference of two methods over seeds and examples, both tried with the same seeds on the same examples,
/// and what is known of the true one from both (docs/statistics.md).
///
/// Model: difference of seed k on example i = mean + seed_k + example_i + rest_ki, all independent (two-way analysis of
/// variance without replication). The variance of the mean is then MS_seed / (K n) + (MS_example - MS_rest) / (K n):
/// what the means of the seeds scatter, plus what other examples would change for all seeds alike. The first is known
/// with K - 1 degrees of freedom only, so the true mean has the Behrens-Fisher distribution: a normal one whose seed
/// variance is itself drawn (Fisher, 1935), never below MS_rest / (K n), which seeds without any effect would have.
///
/// Few examples that differ say little of how many would: the variance at a value d away from the mean has at least the
/// disagreement that makes such a difference, as in Wilson's interval (1927), where what differs goes one way; and
/// whatever was seen, a share d of examples that differ is missed by all n with probability (1 - d)^n.
struct PairedDifference {
  double mean = 0;
  std::int64_t seeds = 0;
  std::int64_t examples = 0;
  /// The two terms of the variance of the mean; the first is NaN with one seed.
  double seed_variance = 0;
  double example_variance = 0;
  /// MS_rest / (K n); NaN with one seed.
  double rest_variance = 0;
  /// How much of what differs goes the same way: |sum| over the sum of |.| of the examples' means; 0 for no difference.
  double one_way = 0;
  /// The largest difference that one example can make.
  double unit = 1;

  /// The probability that the true mean lies below `value`; NaN with one seed. As a test: the p-value, one-sided, of
  /// the true mean being `value` or less.
  double probability_below(double value) const;
  /// Half the interval of a level such as 0.95; NaN with one seed.
  double half_width(double level) const;
  Interval interval(double level) const;
  /// Two-sided, for a difference of zero: one minus the level whose interval touches zero. NaN with one seed.
  double p_value() const;
  /// The smallest margin within which the methods are equivalent by two one-sided tests (Schuirmann, 1987) at 2.5 %
  /// each: the far end of the 95 % interval, so that no more is ruled out than the interval that is shown does. NaN
  /// with one seed.
  double equivalence_bound() const;

  /// Second minus first.
  PairedDifference reversed() const;
  /// What is to be expected of more seeds and of `more_examples` times as many examples, if the mean and the
  /// components stay as they are.
  PairedDifference projected(std::int64_t more_seeds, double more_examples) const;

 private:
  double tail(double distance) const;
};

/// `differences`: [seeds][examples], the rows of equal length, at least one seed and two examples, else
/// std::invalid_argument. `unit`: the largest difference that one example can make.
PairedDifference paired_difference(const std::vector<std::vector<double>>& differences, double unit = 1);

/// Holm's step-down adjustment (1979) of the p-values of a family; NaN stays NaN and counts for nothing.
std::vector<double> holm(const std::vector<double>& p_values);

/// The same where at least one of the hypotheses is known to be false, so that at most all but one are true (Shaffer,
/// 1986): the smallest p is multiplied by one less.
std::vector<double> holm_but_one(const std::vector<double>& p_values);

/// The exact interval of a proportion of `successes` in `trials` (Clopper and Pearson, 1934). Throws
/// std::invalid_argument without a trial.
Interval proportion_interval(std::int64_t successes, std::int64_t trials, double level);

/// Half the 95 % interval of the difference of two accuracies on so many examples, where the methods disagree on this
/// share of them and seeds make no difference: what a study of that size can resolve at best.
double resolution(std::int64_t examples, double disagreement);

}  // namespace dtrain::study
