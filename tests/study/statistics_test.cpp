#include "study/statistics/statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "tests/study/study_case.h"

// Reference values are scipy's: of statistics_reference.py, or as the call that is named.
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

TEST(PValueOfZero, IsStudents) {
  // stats.ttest_1samp([.02, .05, .03], 0).pvalue
  EXPECT_NEAR(p_value_of_zero(mean_over_seeds({0.02, 0.05, 0.03})), 0.06341419, 1e-8);
  EXPECT_TRUE(std::isnan(p_value_of_zero(mean_over_seeds({0.02}))));
}

TEST(PValueOfZero, IsTheSignTestsWhereTheSeedsAreAllTheSame) {
  // stats.binomtest(n, n).pvalue
  EXPECT_EQ(p_value_of_zero(mean_over_seeds({0.05, 0.05})), 0.5);
  EXPECT_EQ(p_value_of_zero(mean_over_seeds({0.35 - 0.3, 0.25 - 0.2, 0.1 - 0.05})), 0.25) << "but for rounding";
  EXPECT_EQ(p_value_of_zero(mean_over_seeds({-0.05, -0.05, -0.05, -0.05, -0.05})), 0.0625);
  EXPECT_LT(p_value_of_zero(mean_over_seeds(std::vector<double>(6, 0.05))), 0.05);
  EXPECT_EQ(p_value_of_zero(mean_over_seeds({0, 0, 0})), 1);
}

// What statistics_reference.py computed with scipy.
nlohmann::json scipy_reference() {
  return nlohmann::json::parse(read_file(std::filesystem::path(DTRAIN_REFERENCE_DIR) / "study" / "statistics.json"));
}

TEST(PairedDifference, IsWhatScipyMakesOfTheSameAnswers) {
  const auto cases = scipy_reference().at("paired");
  ASSERT_EQ(cases.size(), 9U);
  for (const auto& expected : cases) {
    const auto rows = expected.at("rows").get<std::vector<std::vector<double>>>();
    const PairedDifference difference = paired_difference(rows, expected.at("unit"));
    SCOPED_TRACE(testing::Message() << rows.size() << " seeds, " << rows[0].size() << " examples");
    EXPECT_NEAR(difference.mean, expected.at("mean"), 1e-14);
    EXPECT_NEAR(difference.seed_variance, expected.at("seed_variance"), 1e-13);
    EXPECT_NEAR(difference.example_variance, expected.at("example_variance"), 1e-13);
    EXPECT_NEAR(difference.rest_variance, expected.at("rest_variance"), 1e-13);
    EXPECT_NEAR(difference.one_way, expected.at("one_way"), 1e-12);
    EXPECT_NEAR(difference.half_width(0.95), expected.at("half_width"), 1e-6);
    EXPECT_NEAR(difference.p_value(), expected.at("p"), 1e-7);
    EXPECT_EQ(difference.equivalence_bound(), std::abs(difference.mean) + difference.half_width(0.95));
    for (const auto& [value, below] : expected.at("below").get<std::vector<std::pair<double, double>>>())
      EXPECT_NEAR(difference.probability_below(value), below, 1e-7) << value;
  }
}

PairedDifference known(double mean, std::int64_t seeds, double seed_variance, double example_variance,
                       double rest_variance = 0) {
  PairedDifference difference;
  difference.mean = mean;
  difference.seeds = seeds;
  difference.examples = 1'000'000'000;
  difference.seed_variance = seed_variance;
  difference.example_variance = example_variance;
  difference.rest_variance = rest_variance;
  return difference;
}

TEST(PairedDifference, IsStudentsWhereExamplesAddNothingAndNormalWhereSeedsDoNot) {
  // stats.t.sf(2, df) and stats.norm.sf(2)
  for (const auto& [seeds, tail] : std::vector<std::pair<std::int64_t, double>>{
           {2, 0.14758361765043326}, {3, 0.09175170953613698}, {5, 0.05805826175840775}, {101, 0.024106089365566812}}) {
    EXPECT_NEAR(known(0.02, seeds, 1e-4, 0).probability_below(0), tail, 1e-7) << seeds << " seeds";
    EXPECT_NEAR(known(0.02, seeds, 1e-4, 0).p_value(), 2 * tail, 2e-7) << seeds << " seeds";
  }
  EXPECT_NEAR(known(0.02, 3, 0, 1e-4).probability_below(0), 0.0227501319481792, 1e-9);
  // Far out, too: stats.t.sf(1000, 1), stats.t.sf(1000, 2)
  EXPECT_NEAR(known(1, 2, 1e-6, 0).probability_below(0) / 0.00031830978009908326, 1, 1e-6);
  EXPECT_NEAR(known(1, 3, 1e-6, 0).probability_below(0) / 4.999992500012497e-07, 1, 1e-4);
}

TEST(PairedDifference, NeverTakesSeedsForMoreAlikeThanChanceMakesThem) {
  // stats.norm.sf(2): the least variance, whatever the seeds' own.
  EXPECT_NEAR(known(0.02, 3, 0, 0, 1e-4).probability_below(0), 0.0227501319481792, 1e-9);
}

TEST(PairedDifference, OfIdenticalAnswersIsBoundedByTheExamplesAlone) {
  // 1 - .025 ** (1 / n), the upper end of stats.binomtest(0, n).proportion_ci(.95, "exact")
  const std::vector<std::vector<double>> same(3, std::vector<double>(100, 0));
  EXPECT_NEAR(paired_difference(same).equivalence_bound(), 0.03621669264517641, 1e-9);
  EXPECT_EQ(paired_difference(same).p_value(), 1);
  const std::vector<std::vector<double>> many(3, std::vector<double>(2000, 0));
  EXPECT_NEAR(paired_difference(many).equivalence_bound(), 0.0018427396, 1e-8);
  EXPECT_NEAR(paired_difference(many).interval(0.95).low, -0.0018427396, 1e-8);
}

TEST(PairedDifference, OfFewAnswersThatDifferIsAboutTheExactBound) {
  // stats.binomtest(k, 200).proportion_ci(.95, "exact").high
  const std::vector<double> exact = {0.0182753, 0.0275413, 0.0356527, 0.0432293, 0.0504182, 0.0573346};
  for (std::size_t k = 0; k < exact.size(); ++k) {
    std::vector<std::vector<double>> rows(3, std::vector<double>(200, 0));
    for (auto& row : rows) std::fill_n(row.begin(), k, 1);
    EXPECT_NEAR(paired_difference(rows).interval(0.95).high, exact[k], 0.03 * exact[k]) << k;
  }
}

TEST(PairedDifference, ExpectsComponentsToShrinkWithSeedsAndExamples) {
  const PairedDifference now = known(0.01, 4, 5e-4, 3e-4, 1e-4);
  const PairedDifference more = now.projected(4, 3);
  EXPECT_EQ(more.seeds, 8);
  EXPECT_EQ(more.examples, 3'000'000'000);
  EXPECT_NEAR(more.rest_variance, 1e-4 / 6, 1e-18);
  EXPECT_NEAR(more.seed_variance, 4e-4 / 2 + 1e-4 / 6, 1e-18);
  EXPECT_NEAR(more.example_variance, 1e-4, 1e-18);
  EXPECT_EQ(now.projected(0, 1).half_width(0.95), now.half_width(0.95));
}

TEST(PairedDifference, DoesNotTakeLuckForCertainty) {
  // Each seed one example apart, on another example: the means of the seeds do not scatter at all.
  std::vector<std::vector<double>> rows(3, std::vector<double>(1000, 0));
  for (std::size_t seed = 0; seed < rows.size(); ++seed) rows[seed][seed] = 1;
  const PairedDifference difference = paired_difference(rows);
  EXPECT_NEAR(difference.seed_variance, 0, 1e-18);
  // No less than what 1,000 examples without any difference leave possible: 1 - .025 ** (1 / 1000)
  EXPECT_GE(difference.half_width(0.95), 0.0036821);
  EXPECT_LE(difference.half_width(0.95), 0.0046);
  EXPECT_GT(difference.p_value(), 0.05);
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
    covered.paired += (difference.p_value() >= 0.05 ? 1.0 : 0.0) / kStudies;
    covered.seeds_alone += (std::abs(over_seeds.mean) <= over_seeds.half_width ? 1.0 : 0.0) / kStudies;
  }
  return covered;
}

TEST(PairedDifference, CoversTheTruthOfSimulatedAnswers) {
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

// How often the 95 % interval holds the truth, where the seeds' variance of the mean is `seeds_part` times the
// examples', and a tenth of the latter is what seeds without any effect scatter.
double coverage_of_components(std::int64_t seeds, double seeds_part) {
  constexpr int kStudies = 4000;
  SplitMix64 random(11);
  const double seed_variance = seeds_part + 0.1;
  int covered = 0;
  for (int study = 0; study < kStudies; ++study) {
    double chi_square = 0;
    for (std::int64_t i = 1; i < seeds; ++i) chi_square += std::pow(normal(random), 2);
    const double estimate = seed_variance * chi_square / static_cast<double>(seeds - 1);
    const double mean = std::sqrt(seed_variance + 1) * normal(random);
    PairedDifference difference = known(mean, seeds, estimate, 1, 0.1);
    difference.unit = 1e-9;  // no correction for few examples: what is seen is far from what one of them makes
    covered += difference.p_value() > 0.05 ? 1 : 0;
  }
  return static_cast<double>(covered) / kStudies;
}

// The figures of docs/statistics.md.
TEST(PairedDifference, CoversTheTruthAtTwoThreeAndFiveSeeds) {
  const std::map<std::int64_t, std::pair<double, double>> bounds = {
      {2, {0.94, 0.995}}, {3, {0.94, 0.985}}, {5, {0.94, 0.975}}, {10, {0.94, 0.965}}};
  for (const auto& [seeds, bound] : bounds) {
    for (const double part : {0.0, 0.3, 1.0, 3.0, 10.0, 100.0}) {
      const double covered = coverage_of_components(seeds, part);
      RecordProperty("coverage_" + std::to_string(seeds) + "_" + std::to_string(part), std::to_string(covered));
      EXPECT_GE(covered, bound.first) << seeds << " seeds, variance " << part;
      EXPECT_LE(covered, bound.second) << seeds << " seeds, variance " << part;
    }
  }
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

TEST(Holm, MultipliesByOneLessWhereOneHypothesisIsFalse) {
  // Shaffer: two of three may be true, whichever is tested first.
  EXPECT_THAT(holm_but_one({0.03, 0.01, 0.5}),
              ElementsAre(DoubleNear(0.06, 1e-15), DoubleNear(0.02, 1e-15), DoubleNear(0.5, 1e-15)));
  EXPECT_THAT(holm_but_one({0.04, 0.9}), ElementsAre(DoubleNear(0.04, 1e-15), DoubleNear(0.9, 1e-15)));
  EXPECT_THAT(holm_but_one({0.7}), ElementsAre(0));
}

TEST(Proportion, HasTheExactInterval) {
  const auto expected = scipy_reference().at("proportions").get<std::vector<std::array<double, 4>>>();
  ASSERT_FALSE(expected.empty());
  for (const auto& [successes, trials, low, high] : expected) {
    const Interval interval =
        proportion_interval(static_cast<std::int64_t>(successes), static_cast<std::int64_t>(trials), 0.95);
    EXPECT_NEAR(interval.low, low, 1e-9) << successes << " of " << trials;
    EXPECT_NEAR(interval.high, high, 1e-9) << successes << " of " << trials;
  }
  EXPECT_THROW(proportion_interval(0, 0, 0.95), std::invalid_argument);
}

TEST(Resolution, IsTheHalfWidthOfADifferenceOfProportions) {
  // stats.norm.ppf(.975) * np.sqrt(.06 / n)
  EXPECT_NEAR(resolution(872, 0.06), 0.01625794, 1e-8);
  EXPECT_NEAR(resolution(25000, 0.06), 0.00303636, 1e-8);
}

}  // namespace
}  // namespace dtrain::study
