#include "study/statistics/crossover.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/atomic_file.h"
#include "tests/study/study_case.h"

namespace dtrain::study {
namespace {

DifferenceAt point(std::int64_t samples, std::int64_t seeds, double mean, double seed_variance,
                   double example_variance) {
  PairedDifference difference;
  difference.mean = mean;
  difference.seeds = seeds;
  difference.examples = 2000;
  difference.seed_variance = seed_variance;
  difference.example_variance = example_variance;
  return {samples, difference};
}

TEST(Crossover, IsWhatScipyFits) {
  const auto cases =
      nlohmann::json::parse(read_file(std::filesystem::path(DTRAIN_REFERENCE_DIR) / "study" / "statistics.json"))
          .at("lines");
  ASSERT_EQ(cases.size(), 3U);
  for (const auto& expected : cases) {
    std::vector<DifferenceAt> points;
    for (std::size_t i = 0; i < expected.at("samples").size(); ++i) {
      points.push_back(point(expected.at("samples")[i], expected.at("seeds"), expected.at("means")[i],
                             expected.at("seed_variances")[i], expected.at("example_variances")[i]));
    }
    const auto found = crossover(points, expected.at("level"));
    ASSERT_TRUE(found);
    EXPECT_NEAR(std::log(found->samples), std::log(expected.at("crossing").get<double>()), 1e-9);
    ASSERT_EQ(found->interval.has_value(), !expected.at("interval").is_null());
    if (!found->interval) continue;
    EXPECT_NEAR(std::log(found->interval->low), std::log(expected.at("interval")[0].get<double>()), 1e-7);
    EXPECT_NEAR(std::log(found->interval->high), std::log(expected.at("interval")[1].get<double>()), 1e-7);
  }
}

TEST(Crossover, TakesThreeCountsAndTwoSeeds) {
  const std::vector<DifferenceAt> two = {point(100, 3, 0, 1e-6, 0), point(1000, 3, 0.1, 1e-6, 0)};
  EXPECT_FALSE(crossover(two, 0.01));
  auto three = two;
  three.push_back(point(10000, 3, 0.2, 1e-6, 0));
  EXPECT_TRUE(crossover(three, 0.01));
  three[1].difference.seeds = 1;
  EXPECT_FALSE(crossover(three, 0.01));
}

TEST(Crossover, OfAFlatLineIsNowhere) {
  EXPECT_FALSE(
      crossover({point(100, 3, 0.02, 1e-6, 0), point(1000, 3, 0.02, 1e-6, 0), point(10000, 3, 0.02, 1e-6, 0)}, 0.01));
}

TEST(Crossover, CoversTheTrueCount) {
  constexpr int kStudies = 4000;
  SplitMix64 random(5);
  for (const std::int64_t seeds : {3, 5}) {
    for (const double example_deviation : {0.0, 0.005}) {
      int bounded = 0;
      int covered = 0;
      for (int study = 0; study < kStudies; ++study) {
        const double shift = example_deviation * normal(random);
        std::vector<DifferenceAt> points;
        for (const std::int64_t samples : {100, 316, 1000, 3162, 10000}) {
          // True differences reach a point at 1,000 samples.
          const double truth = 0.01 + 0.01 * std::log(static_cast<double>(samples) / 1000) + shift;
          std::vector<double> values;
          for (std::int64_t seed = 0; seed < seeds; ++seed) values.push_back(truth + 0.01 * normal(random));
          const SeedMean mean = mean_over_seeds(values);
          points.push_back(point(samples, seeds, mean.mean,
                                 mean.deviation * mean.deviation / static_cast<double>(seeds),
                                 example_deviation * example_deviation));
        }
        const auto found = crossover(points, 0.01);
        if (!found || !found->interval) continue;
        ++bounded;
        covered += found->interval->low <= 1000 && found->interval->high >= 1000 ? 1 : 0;
      }
      EXPECT_GE(bounded, 0.98 * kStudies);
      EXPECT_GE(covered, 0.93 * bounded) << seeds << " seeds, " << example_deviation;
      EXPECT_LE(covered, 0.98 * bounded) << seeds << " seeds, " << example_deviation;
    }
  }
}

}  // namespace
}  // namespace dtrain::study
