#include "train/slow_rank.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

namespace dtrain::train {
namespace {

// What a watch finds in so many equal steps.
std::optional<SlowRankWatch::Found> found_in(SlowRankWatch& watch, const std::vector<double>& seconds,
                                             std::size_t steps = SlowRankWatch::kWindow) {
  std::optional<SlowRankWatch::Found> found;
  for (std::size_t i = 0; i < steps; ++i) {
    if (const auto slow = watch.add(seconds)) found = slow;
  }
  return found;
}

TEST(SlowRank, IsTheOneThatComputesLongerThanTheOthersOverAWindowOfSteps) {
  SlowRankWatch watch;
  EXPECT_FALSE(found_in(watch, {0.1, 0.1, 0.25, 0.12}, SlowRankWatch::kWindow - 1));
  const auto slow = watch.add({0.1, 0.1, 0.25, 0.12});
  ASSERT_TRUE(slow);
  EXPECT_EQ(slow->rank, 2U);
  EXPECT_EQ(slow->seconds, 0.25);
  EXPECT_EQ(slow->others, 0.1);
  EXPECT_FALSE(found_in(watch, {0.1, 0.1, 0.25, 0.12})) << "it is told once";
}

TEST(SlowRank, OfTwoIsToldFromTheOther) {
  SlowRankWatch watch;
  const auto slow = found_in(watch, {0.4, 0.2});
  ASSERT_TRUE(slow);
  EXPECT_EQ(slow->rank, 0U);
}

TEST(SlowRank, IsNotFoundWhereAllAreAlikeOrNearlySo) {
  const std::vector<std::vector<double>> alike = {{0.5}, {0.1, 0.1}, {0.1, 0.14}, {0.1, 0.2, 0.2, 0.2}, {0.001, 0.005}};
  for (const auto& seconds : alike) {
    SlowRankWatch watch;
    EXPECT_FALSE(found_in(watch, seconds, 3 * SlowRankWatch::kWindow)) << seconds.back();
  }
}

TEST(SlowRank, IsNotFoundForAFewSlowSteps) {
  SlowRankWatch watch;
  for (std::size_t i = 0; i < 3 * SlowRankWatch::kWindow; ++i)
    EXPECT_FALSE(watch.add({0.1, i % 5 == 0 ? 9.0 : 0.1})) << i;
}

}  // namespace
}  // namespace dtrain::train
