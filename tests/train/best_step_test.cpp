#include "train/best_step.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"

namespace dtrain::train {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

Evaluation evaluation_of(double value) {
  Evaluation evaluation;
  evaluation.metrics.values = {{"log_loss", value}, {"accuracy", value}};
  return evaluation;
}

/// The best step, from 1, where dev gives these values one after the other.
std::int64_t best_of(const char* metric, const std::vector<double>& values) {
  BestStep best(metric);
  std::int64_t step = 0;
  for (const double value : values) {
    ++step;
    if (best.is_best(evaluation_of(value).metrics)) best.keep(step, evaluation_of(value), at::tensor({value}));
  }
  if (best.step() > 0) {
    EXPECT_EQ(best.value(), values[static_cast<std::size_t>(best.step() - 1)]);
  }
  return best.step();
}

TEST(BestStep, IsTheFirstOfTheBest) {
  EXPECT_EQ(best_of("log_loss", {3, 1, 2, 1}), 2);
  EXPECT_EQ(best_of("accuracy", {0.1, 0.3, 0.2, 0.3}), 2);
  EXPECT_EQ(best_of("accuracy", {0}), 1);
}

TEST(BestStep, IsNeverOneWithoutANumber) {
  for (const char* metric : {"log_loss", "accuracy"}) {
    EXPECT_EQ(best_of(metric, {kNaN, 2}), 2) << metric;
    EXPECT_EQ(best_of(metric, {2, kNaN}), 1) << metric;
    EXPECT_EQ(best_of(metric, {kNaN, kNaN}), 0) << metric;
  }
  EXPECT_EQ(best_of("log_loss", {kInfinity, kNaN, 5, 7}), 3);
}

TEST(BestStep, GoesOnFromACheckpoint) {
  BestStep best("log_loss");
  best.restore(4, 0.5, at::ones({3}));
  EXPECT_EQ(best.step(), 4);
  EXPECT_FALSE(best.evaluation());
  EXPECT_FALSE(best.is_best(evaluation_of(0.6).metrics));
  EXPECT_TRUE(best.is_best(evaluation_of(0.4).metrics));
  best.restore(0, 0, {});
  EXPECT_TRUE(best.is_best(evaluation_of(0.6).metrics));
}

TEST(BestStep, IsByAMetricThatThereIs) { EXPECT_THROW(BestStep("wit"), UsageError); }

}  // namespace
}  // namespace dtrain::train
