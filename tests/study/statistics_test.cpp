#include "study/statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "base/random.h"

// Reference values are scipy 1.17's; each test says the call.
namespace dtrain::study {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

TEST(MeanOverSeeds, HasStudentsInterval) {
  // stats.t.interval(.95, 2, loc=np.mean(v), scale=stats.sem(v))
  const SeedMean three = mean_over_seeds({0.731, 0.742, 0.725});
  EXPECT_NEAR(three.mean, 0.7326666666666667, 1e-15);
  EXPECT_NEAR(three.deviation, 0.008621678104251716, 1e-15);
  EXPECT_NEAR(three.half_width, 0.02141743571734378, 1e-12);
  const SeedMean five = mean_over_seeds({0.61, 0.64, 0.66, 0.60, 0.63});
  EXPECT_NEAR(five.half_width, 0.029644321650666217, 1e-12);
  EXPECT_EQ(five.seeds, 5);
}

TEST(MeanOverSeeds, KnowsNoIntervalOfOneSeed) {
  const SeedMean one = mean_over_seeds({0.5});
  EXPECT_EQ(one.mean, 0.5);
  EXPECT_TRUE(std::isnan(one.deviation));
  EXPECT_TRUE(std::isnan(one.half_width));
  EXPECT_THROW(mean_over_seeds({}), std::invalid_argument);
}

// Three seeds on eight examples: where two methods differ, and which is right. The seeds lie far apart, or close.
const std::vector<std::vector<double>> kFarApart = {
    {1, 0, 0, 1, 0, 0, 1, 0}, {1, 1, 1, 1, 0, 0, 1, 1}, {0, 0, 0, 1, -1, -1, 1, 0}};
const std::vector<std::vector<double>> kClose = {
    {1, 0, 0, 1, 0, -1, 1, 0}, {0, 0, 1, 1, 0, 0, 1, 0}, {1, -1, 0, 1, 0, 0, 1, 1}};

TEST(PairedDifference, HasTheVarianceComponentsOfTwoWayAnova) {
  // Mean squares from np.linalg.lstsq on the design matrices with and without each factor.
  const PairedDifference far = paired_difference(kFarApart);
  EXPECT_NEAR(far.mean, 0.375, 1e-15);
  EXPECT_NEAR(far.seed_variance, 0.046875, 1e-14);
  EXPECT_NEAR(far.example_variance, 0.028273809523809524, 1e-14);
  EXPECT_NEAR(far.rest_variance, 0.005208333333333333, 1e-14);
  const PairedDifference close = paired_difference(kClose);
  EXPECT_NEAR(close.mean, 1.0 / 3, 1e-15);
  EXPECT_NEAR(close.seed_variance, 0.0017361111111111143, 1e-14);
  EXPECT_NEAR(close.example_variance, 0.026041666666666668, 1e-14);
  EXPECT_NEAR(close.rest_variance, 0.009672619047619048, 1e-14);
}

TEST(PairedDifference, GivesEachComponentItsOwnQuantile) {
  // q = lambda df: stats.t.ppf(.975, df)**2
  // np.sqrt(max(q(2) * seed_variance, q(14) * rest_variance) + q(7) * example_variance)
  const PairedDifference far = paired_difference(kFarApart);
  EXPECT_NEAR(far.half_width(0.95), 1.0128573409153878, 1e-10);
  EXPECT_NEAR(far.interval(0.95).low, 0.375 - 1.0128573409153878, 1e-10);
  EXPECT_NEAR(far.equivalence_bound(), 0.375 + 1.0128573409153878, 1e-10);
  EXPECT_NEAR(paired_difference(kClose).half_width(0.95), 0.4360111605453584, 1e-10);
}

TEST(PairedDifference, HasThePValueOfTheIntervalThatTouchesZero) {
  // scipy.optimize.brentq(lambda a: half_width(1 - a) - mean, 1e-12, 1 - 1e-12)
  EXPECT_NEAR(paired_difference(kFarApart).p_value(), 0.27874338317933456, 1e-9);
  const PairedDifference close = paired_difference(kClose);
  EXPECT_NEAR(close.p_value(), 0.11572378051763454, 1e-9);
  EXPECT_NEAR(close.half_width(1 - close.p_value()), close.mean, 1e-9);
}

TEST(PairedDifference, IsThePairedTTestWhereExamplesAddNothing) {
  // stats.ttest_1samp([1, 0, -1/3, 2/3], 0); the examples scatter less than the rest does.
  const PairedDifference difference = paired_difference({{1, 1, 1}, {1, -1, 0}, {0, -1, 0}, {0, 1, 1}});
  EXPECT_EQ(difference.example_variance, 0);
  EXPECT_NEAR(difference.p_value(), 0.35338746628869777, 1e-9);
}

TEST(PairedDifference, DoesNotTakeLuckForCertainty) {
  // Each seed one example apart, on another example: the means of the seeds do not scatter at all.
  std::vector<std::vector<double>> rows(3, std::vector<double>(1000, 0));
  for (std::size_t seed = 0; seed < rows.size(); ++seed) rows[seed][seed] = 1;
  const PairedDifference difference = paired_difference(rows);
  EXPECT_NEAR(difference.seed_variance, 0, 1e-18);
  EXPECT_NEAR(difference.half_width(0.95), 1.96 * std::sqrt(0.001 / 3000), 1e-5);
  EXPECT_GT(difference.p_value(), 0.05);
}

TEST(PairedDifference, OfMethodsThatAgreeIsZeroForCertain) {
  const PairedDifference difference = paired_difference({{0, 0, 0}, {0, 0, 0}});
  EXPECT_EQ(difference.half_width(0.95), 0);
  EXPECT_EQ(difference.p_value(), 1);
}

TEST(PairedDifference, OfOneSeedClaimsNothing) {
  const PairedDifference difference = paired_difference({{1, 0, 1, 1}});
  EXPECT_EQ(difference.mean, 0.75);
  EXPECT_TRUE(std::isnan(difference.half_width(0.95)));
  EXPECT_TRUE(std::isnan(difference.p_value()));
  EXPECT_TRUE(std::isnan(difference.equivalence_bound()));
}

TEST(PairedDifference, RefusesWhatIsNotARectangle) {
  EXPECT_THROW(paired_difference({}), std::invalid_argument);
  EXPECT_THROW(paired_difference({{1}}), std::invalid_argument);
  EXPECT_THROW(paired_difference({{1, 0}, {1}}), std::invalid_argument);
}

double uniform(SplitMix64& random) { return static_cast<double>(random.next() >> 11) * 0x1p-53; }

double normal(SplitMix64& random) {
  return std::sqrt(-2 * std::log(1 - uniform(random))) * std::cos(6.283185307179586 * uniform(random));
}

// Simulated studies whose true difference is zero: how often the interval holds it, and how often one over seeds alone.
struct Coverage {
  double paired = 0;
  double seeds_alone = 0;
};

Coverage coverage(int seeds, double seed_deviation) {
  constexpr int kStudies = 1500;
  constexpr int kExamples = 300;
  SplitMix64 random(7);
  Coverage covered;
  for (int study = 0; study < kStudies; ++study) {
    // A few examples on which one method tends to be right for all seeds, some chance, and a shift of each seed.
    std::vector<double> tendency(kExamples, 0);
    for (double& example : tendency) {
      if (uniform(random) < 0.06) example = (uniform(random) < 0.5 ? -1 : 1) * uniform(random);
    }
    std::vector<std::vector<double>> rows;
    std::vector<double> means;
    for (int seed = 0; seed < seeds; ++seed) {
      const double shift = seed_deviation * normal(random);
      std::vector<double> row;
      double sum = 0;
      for (const double example : tendency) {
        const double strength = example + shift;
        double value = uniform(random) < std::abs(strength) ? std::copysign(1.0, strength) : 0.0;
        if (value == 0 && uniform(random) < 0.03) value = uniform(random) < 0.5 ? -1 : 1;
        row.push_back(value);
        sum += value;
      }
      means.push_back(sum / kExamples);
      rows.push_back(std::move(row));
    }
    const PairedDifference difference = paired_difference(rows);
    const SeedMean over_seeds = mean_over_seeds(means);
    covered.paired += (std::abs(difference.mean) <= difference.half_width(0.95) ? 1.0 : 0.0) / kStudies;
    covered.seeds_alone += (std::abs(over_seeds.mean) <= over_seeds.half_width ? 1.0 : 0.0) / kStudies;
  }
  return covered;
}

TEST(PairedDifference, CoversTheTruthWhereSeedsOrExamplesDominate) {
  for (const int seeds : {3, 5}) {
    for (const double seed_deviation : {0.0, 0.005, 0.02}) {
      const Coverage covered = coverage(seeds, seed_deviation);
      EXPECT_GE(covered.paired, 0.94) << seeds << " seeds, deviation " << seed_deviation;
      EXPECT_LE(covered.paired, 0.995) << seeds << " seeds, deviation " << seed_deviation;
    }
  }
  // What the second component is there for.
  EXPECT_LT(coverage(5, 0).seeds_alone, 0.85);
}

TEST(Holm, StepsDownAsInHisPaper) {
  // statsmodels.stats.multitest.multipletests([.01, .04, .03, .005], method="holm") -> .03 .06 .06 .02
  EXPECT_THAT(holm({0.01, 0.04, 0.03, 0.005}), ElementsAre(DoubleNear(0.03, 1e-15), DoubleNear(0.06, 1e-15),
                                                           DoubleNear(0.06, 1e-15), DoubleNear(0.02, 1e-15)));
}

TEST(Holm, NeverExceedsOneAndIgnoresWhatIsUnknown) {
  const double unknown = std::numeric_limits<double>::quiet_NaN();
  const auto adjusted = holm({0.9, unknown, 0.02});
  EXPECT_EQ(adjusted[0], 0.9);
  EXPECT_TRUE(std::isnan(adjusted[1]));
  EXPECT_NEAR(adjusted[2], 0.04, 1e-15);
  EXPECT_EQ(holm({0.6, 0.7})[0], 1);
}

TEST(Resolution, IsTheHalfWidthOfADifferenceOfProportions) {
  // stats.norm.ppf(.975) * np.sqrt(.06 / n)
  EXPECT_NEAR(resolution(872, 0.06), 0.01625794, 1e-8);
  EXPECT_NEAR(resolution(25000, 0.06), 0.00303636, 1e-8);
}

}  // namespace
}  // namespace dtrain::study
