#include "train/cost.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>

#include "tests/train/small_run.h"
#include "train/matmul_rate.h"

namespace dtrain::train {
namespace {

TEST(Cost, IsReadAsItWasWritten) {
  const Cost cost{.ranks = 2,
                  .threads_per_rank = 4,
                  .train_seconds = 1.5,
                  .samples_per_second = 20,
                  .tokens_per_second = 300,
                  .flop = 4e12,
                  .matmul_rate_share = 0.25,
                  .energy_joules = 7,
                  .energy_of = "cpu+gpu",
                  .peak_memory_bytes = 1000,
                  .peak_memory_above_base_bytes = 400,
                  .peak_host_memory_bytes = 300,
                  .trainable_parameters = 12,
                  .allreduce_bytes_per_step = 48,
                  .stored_bytes = 60};
  EXPECT_EQ(cost_json(cost_from_json(cost_json(cost))), cost_json(cost));
  EXPECT_EQ(cost_json(cost)["ranks"], 2);
  EXPECT_EQ(cost_json(cost)["threads_per_rank"], 4);
  EXPECT_EQ(cost_json(cost)["flop"], 4e12);
  EXPECT_EQ(cost_json(cost)["peak_memory_above_base_bytes"], 400);
  EXPECT_EQ(cost_json(cost)["energy_of"], "cpu+gpu");
  EXPECT_EQ(cost_json(cost)["peak_host_memory_bytes"], 300);
}

TEST(Cost, HasEnergyOfTheProcessorsWhereAnEarlierVersionWroteIt) {
  Cost cost;
  cost.energy_joules = 7;
  cost.energy_of = "gpu";
  auto json = cost_json(cost);
  json.erase("energy_of");
  EXPECT_EQ(cost_from_json(json).energy_of, "cpu");
  EXPECT_FALSE(cost_json({}).contains("energy_of"));
}

TEST(Cost, HasTheHostsMemoryBesideAGpusAlone) { EXPECT_FALSE(cost_json({}).contains("peak_host_memory_bytes")); }

TEST(Cost, ThatIsNotKnownIsNull) {
  for (const char* name : {"ranks", "threads_per_rank", "tokens_per_second", "flop", "matmul_rate_share",
                           "energy_joules", "peak_memory_above_base_bytes"}) {
    auto json = cost_json({});
    EXPECT_TRUE(json.at(name).is_null()) << name;
    json.erase(name);  // as an earlier version wrote it
    EXPECT_EQ(cost_json(cost_from_json(json)), cost_json({})) << name;
  }
}

/// A run of one epoch and a half.
TrainReport report_of(const std::string& method, std::int64_t cache_memory, double matmul_rate = 0) {
  const auto alone = dist::make_single_communicator();
  const auto classifier = classifier_with("new_gelu", method);
  RunContext context = context_over(*alone);
  context.matmul_rate = matmul_rate;
  TrainOptions options = short_run(method, 6);
  options.cache_memory = cache_memory;
  FeatureStore features(cache_memory);
  return train(*classifier, random_data(32, 4), {}, options, {}, context, features);
}

TEST(CostOfARun, CountsAFrozenPartOnceWhereItsFeaturesAreKept) {
  const double kept = report_of("head", 1 << 24).flop;
  const double again = report_of("head", 0).flop;
  EXPECT_GT(again, 1.3 * kept);
  EXPECT_LT(again, 1.7 * kept);
  // Forward of a frozen part is a third of what training all of it takes.
  EXPECT_NEAR(report_of("full", 0).flop / again, 3, 0.2);
}

TEST(CostOfARun, HasTokensAndTheShareOfTheMatmulRate) {
  const auto examples = random_data(32, 4);
  std::int64_t tokens = 0;
  for (const std::int32_t length : examples.lengths()) tokens += length;
  const TrainReport report = report_of("full", 0, 1e9);
  EXPECT_DOUBLE_EQ(report.matmul_rate_share, report.flop / report.train_seconds / 1e9);
  EXPECT_GT(report.tokens_per_second * report.train_seconds, static_cast<double>(tokens));
  EXPECT_LT(report.tokens_per_second * report.train_seconds, 2 * static_cast<double>(tokens));
  EXPECT_TRUE(std::isnan(report_of("full", 0).matmul_rate_share));
  EXPECT_TRUE(std::isnan(report.energy.joules));
}

TEST(MatmulRate, IsMeasuredInWellUnderASecond) {
  const auto alone = dist::make_single_communicator();
  model::EncoderConfig config = classifier_with("new_gelu", "full")->config();
  config.hidden_size = 384;
  config.intermediate_size = 1536;
  const auto begin = std::chrono::steady_clock::now();
  const double rate = measure_matmul_rate(config, 32, context_over(*alone));
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 1);
  EXPECT_GT(rate, 1e8);
}

}  // namespace
}  // namespace dtrain::train
