#include "data/batch_plan.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace dtrain::data {
namespace {

// Lengths as texts have them: many short ones, few long.
std::vector<std::int32_t> lengths_of_texts(std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::lognormal_distribution<double> length(2.8, 0.6);
  std::vector<std::int32_t> lengths(count);
  for (auto& value : lengths) value = std::clamp(static_cast<std::int32_t>(length(random)), 2, 128);
  return lengths;
}

std::int64_t tokens_of(const std::vector<std::int64_t>& batch, const std::vector<std::int32_t>& lengths) {
  std::int64_t tokens = 0;
  for (const std::int64_t example : batch) tokens += lengths[static_cast<std::size_t>(example)];
  return tokens;
}

std::int64_t longest_of(const std::vector<std::int64_t>& batch, const std::vector<std::int32_t>& lengths) {
  std::int64_t longest = 0;
  for (const std::int64_t example : batch)
    longest = std::max<std::int64_t>(longest, lengths[static_cast<std::size_t>(example)]);
  return longest;
}

std::vector<std::int64_t> all_examples(std::size_t count) {
  std::vector<std::int64_t> all(count);
  std::iota(all.begin(), all.end(), std::int64_t{0});
  return all;
}

TEST(BatchPlan, TakesEachExampleOnceAnEpoch) {
  for (const std::size_t count : {1U, 31U, 32U, 33U, 1600U, 5001U}) {
    const BatchPlan plan(lengths_of_texts(count, 1), 32, 7);
    ASSERT_EQ(plan.steps_per_epoch(), static_cast<std::int64_t>((count + 31) / 32));
    for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
      std::vector<std::int64_t> seen;
      for (std::int64_t step = 0; step < plan.steps_per_epoch(); ++step) {
        const auto batch = plan.batch(epoch * plan.steps_per_epoch() + step);
        ASSERT_FALSE(batch.empty());
        ASSERT_LE(batch.size(), 32U);
        seen.insert(seen.end(), batch.begin(), batch.end());
      }
      std::sort(seen.begin(), seen.end());
      ASSERT_EQ(seen, all_examples(count)) << count << " examples, epoch " << epoch;
    }
  }
}

TEST(BatchPlan, GivesAnyStepWithoutTheOnesBefore) {
  const auto lengths = lengths_of_texts(1000, 2);
  const BatchPlan from_the_start(lengths, 16, 3);
  std::vector<std::vector<std::int64_t>> batches;
  for (std::int64_t step = 0; step < 200; ++step) batches.push_back(from_the_start.batch(step));
  for (const std::int64_t step : {199, 0, 63, 62, 130}) {
    const BatchPlan resumed(lengths, 16, 3);
    EXPECT_EQ(resumed.batch(step), batches[static_cast<std::size_t>(step)]) << step;
  }
}

TEST(BatchPlan, HasAnotherOrderEveryEpochAndForEverySeed) {
  const auto lengths = lengths_of_texts(320, 3);
  const BatchPlan plan(lengths, 32, 5);
  EXPECT_NE(plan.batch(0), plan.batch(10));
  EXPECT_NE(plan.batch(0), BatchPlan(lengths, 32, 6).batch(0));
}

TEST(BatchPlan, KeepsPaddingSmall) {
  const auto lengths = lengths_of_texts(20'000, 4);
  const BatchPlan plan(lengths, 32, 5);
  std::int64_t padded = 0;
  std::int64_t padded_unsorted = 0;
  for (std::int64_t step = 0; step < plan.steps_per_epoch(); ++step) {
    const auto batch = plan.batch(step);
    padded += longest_of(batch, lengths) * static_cast<std::int64_t>(batch.size());
    std::vector<std::int64_t> in_order;
    for (std::int64_t i = 32 * step; i < std::min<std::int64_t>(32 * (step + 1), 20'000); ++i) in_order.push_back(i);
    padded_unsorted += longest_of(in_order, lengths) * static_cast<std::int64_t>(in_order.size());
  }
  const std::int64_t tokens = tokens_of(all_examples(lengths.size()), lengths);
  EXPECT_LT(static_cast<double>(padded), 1.1 * static_cast<double>(tokens));
  EXPECT_GT(static_cast<double>(padded_unsorted), 2 * static_cast<double>(tokens));
}

TEST(BatchPlan, DoesNotSortTheStepsOfAnEpochByLength) {
  const auto lengths = lengths_of_texts(10'000, 5);
  const BatchPlan plan(lengths, 20, 5);
  std::int64_t first_half = 0;
  for (std::int64_t step = 0; step < 250; ++step) first_half += tokens_of(plan.batch(step), lengths);
  const auto all = static_cast<double>(tokens_of(all_examples(lengths.size()), lengths));
  EXPECT_NEAR(static_cast<double>(first_half) / all, 0.5, 0.05);
}

TEST(BatchPlan, BeginsEachBatchWithItsLongest) {
  const auto lengths = lengths_of_texts(1000, 6);
  const BatchPlan plan(lengths, 32, 1);
  for (std::int64_t step = 0; step < plan.steps_per_epoch(); ++step) {
    const auto batch = plan.batch(step);
    ASSERT_TRUE(std::is_sorted(batch.begin(), batch.end(), [&](std::int64_t left, std::int64_t right) {
      return lengths[static_cast<std::size_t>(left)] > lengths[static_cast<std::size_t>(right)];
    }));
  }
}

TEST(ShareOfBatch, DealsEachExampleToOneShard) {
  const auto lengths = lengths_of_texts(70, 7);
  const auto batch = BatchPlan(lengths, 32, 1).batch(0);
  for (const int shards : {1, 2, 3, 4, 8, 31, 33, 40}) {
    std::vector<std::int64_t> dealt;
    std::size_t least = batch.size();
    std::size_t most = 0;
    for (int shard = 0; shard < shards; ++shard) {
      const auto share = share_of_batch(batch, shard, shards);
      dealt.insert(dealt.end(), share.begin(), share.end());
      least = std::min(least, share.size());
      most = std::max(most, share.size());
    }
    EXPECT_LE(most - least, 1U) << shards;
    std::sort(dealt.begin(), dealt.end());
    auto expected = batch;
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(dealt, expected) << shards;
  }
}

TEST(ShareOfBatch, GivesTheShardsNearlyEqualTokens) {
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    const auto lengths = lengths_of_texts(64, seed);
    const auto batch = BatchPlan(lengths, 64, seed).batch(0);
    for (const int shards : {2, 4, 8}) {
      std::vector<std::int64_t> tokens;
      for (int shard = 0; shard < shards; ++shard)
        tokens.push_back(tokens_of(share_of_batch(batch, shard, shards), lengths));
      const auto [least, most] = std::minmax_element(tokens.begin(), tokens.end());
      // Dealt back and forth, two shards differ by less than the longest and the shortest of the batch do.
      const std::int64_t spread = longest_of(batch, lengths) - lengths[static_cast<std::size_t>(batch.back())];
      ASSERT_LE(*most - *least, spread) << shards << " shards, seed " << seed;
    }
  }
}

TEST(EvaluationBatches, HoldEachExampleOnceWithinTheBudget) {
  const auto lengths = lengths_of_texts(5000, 8);
  for (const std::int64_t budget : {1, 64, 1000, 8192}) {
    std::vector<std::int64_t> seen;
    for (const auto& batch : evaluation_batches(lengths, budget)) {
      ASSERT_FALSE(batch.empty());
      ASSERT_TRUE(batch.size() == 1 || tokens_of(batch, lengths) <= budget);
      seen.insert(seen.end(), batch.begin(), batch.end());
    }
    std::sort(seen.begin(), seen.end());
    ASSERT_EQ(seen, all_examples(lengths.size())) << budget;
  }
  EXPECT_TRUE(evaluation_batches({}, 100).empty());
}

TEST(EvaluationBatches, AreNearlyFullAndOfSimilarLengths) {
  const auto lengths = lengths_of_texts(5000, 9);
  const std::int64_t budget = 2048;
  const auto batches = evaluation_batches(lengths, budget);
  const std::int64_t tokens = tokens_of(all_examples(lengths.size()), lengths);
  EXPECT_LE(static_cast<std::int64_t>(batches.size()), tokens / (budget - 128) + 1);
  std::int64_t padded = 0;
  for (const auto& batch : batches) padded += longest_of(batch, lengths) * static_cast<std::int64_t>(batch.size());
  EXPECT_LT(static_cast<double>(padded), 1.05 * static_cast<double>(tokens));
}

}  // namespace
}  // namespace dtrain::data
