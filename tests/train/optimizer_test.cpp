#include "train/optimizer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/train/small_run.h"
#include "train/training_step.h"

namespace dtrain::train {
namespace {

// Two parameters, a matrix with weight decay and a vector without, in one flat buffer.
class AdamWBesideTorch : public testing::TestWithParam<at::ScalarType> {
 protected:
  const model::SafetensorsFile expected{reference_directory() / "train" / "optimizer.safetensors"};

  FlatParameters start() const {
    FlatParameters parameters;
    parameters.offsets = {0, 30, 37};
    parameters.groups = {{0, 30, true}, {30, 37, false}};
    parameters.values = expected.tensor("start").to(GetParam());
    parameters.gradients = at::zeros_like(parameters.values);
    return parameters;
  }
  at::Tensor gradient(std::int64_t step) const { return expected.tensor("gradients")[step].to(GetParam()); }
};

TEST_P(AdamWBesideTorch, MakesTheSameStepsWithClippingAndDecay) {
  FlatParameters parameters = start();
  AdamW optimizer(parameters, {});
  const double tolerance = GetParam() == at::kDouble ? 1e-12 : 3e-6;
  for (std::int64_t step = 0; step < expected.tensor("gradients").size(0); ++step) {
    parameters.gradients.copy_(gradient(step));
    const double norm = optimizer.step(0.01);
    EXPECT_NEAR(norm / expected.tensor("norms")[step].item<double>(), 1, tolerance);
    const auto difference = (parameters.values.to(at::kDouble) - expected.tensor("values")[step]).abs().max();
    EXPECT_LT(difference.item<double>(), tolerance) << "step " << step;
  }
  EXPECT_EQ(optimizer.steps(), expected.tensor("gradients").size(0));
}

TEST_P(AdamWBesideTorch, LeavesTheGradientsClippedWhereSomebodyNeedsThem) {
  FlatParameters parameters = start();
  const auto single = dist::make_single_communicator();
  const RunContext context = context_over(*single);
  AdamW optimizer(parameters, {}, Sharding(parameters, {}, context, true));
  for (std::int64_t step = 0; step < expected.tensor("gradients").size(0); ++step) {
    parameters.gradients.copy_(gradient(step));
    const double norm = optimizer.step(0.01);
    EXPECT_NEAR(parameters.gradients.norm().item<double>(), std::min(norm, 1.0), 1e-5) << "left clipped";
  }
}

TEST_P(AdamWBesideTorch, GivesEachGroupItsOwnLearningRate) {
  FlatParameters parameters = start();
  FlatParameters slower = start();
  parameters.groups[1].learning_rate_factor = 16;
  AdamW optimizer(parameters, {});
  AdamW other(slower, {});
  parameters.gradients.copy_(gradient(3));
  slower.gradients.copy_(gradient(3));
  optimizer.step(0.01);
  other.step(0.16);
  EXPECT_TRUE(at::equal(parameters.values.slice(0, 30), slower.values.slice(0, 30)));
  EXPECT_FALSE(at::equal(parameters.values.slice(0, 0, 30), slower.values.slice(0, 0, 30)));
}

TEST_P(AdamWBesideTorch, GoesOnFromRestoredMomentsToTheBit) {
  FlatParameters parameters = start();
  AdamW optimizer(parameters, {});
  for (std::int64_t step = 0; step < 10; ++step) {
    parameters.gradients.copy_(gradient(step));
    optimizer.step(0.01);
  }
  FlatParameters resumed = start();
  resumed.values.copy_(parameters.values);
  AdamW second(resumed, {});
  second.restore(optimizer.moments(), optimizer.steps());
  for (std::int64_t step = 10; step < 20; ++step) {
    parameters.gradients.copy_(gradient(step));
    resumed.gradients.copy_(gradient(step));
    optimizer.step(0.01);
    second.step(0.01);
  }
  EXPECT_TRUE(at::equal(resumed.values, parameters.values));
  EXPECT_TRUE(at::equal(second.moments().second, optimizer.moments().second));
}

// Values after steps of full fine-tuning, with what is known of the word embeddings' gradient or without.
at::Tensor values_after_steps(bool knows_rows, std::int64_t resumed_at = -1) {
  const auto classifier = classifier_with("no_dropout", "full");
  const auto single = dist::make_single_communicator();
  const RunContext context = context_over(*single);
  const TrainOptions options = short_run("full", 6);
  const Examples examples = random_data(60, 6);
  FeatureStore features(options.cache_memory);
  FlatParameters parameters = flatten(*classifier);
  EXPECT_EQ(parameters.tables.size(), test_device().is_cpu() ? 1U : 0U);
  if (!knows_rows) parameters.tables.clear();
  TrainingStep step(*classifier, parameters, options, examples, context, features);
  auto optimizer = std::make_unique<AdamW>(parameters, options);
  for (std::int64_t i = 0; i < 6; ++i) {
    if (i == resumed_at) {
      auto next = std::make_unique<AdamW>(parameters, options);
      next->restore(optimizer->moments(), optimizer->steps());
      optimizer = std::move(next);
    }
    step.run(i);
    optimizer->step(1e-2);
  }
  return parameters.values.clone();
}

TEST(AdamW, LeavesOutRowsThatNoExampleReachedWithoutAnotherBit) {
  if (!test_device().is_cpu()) GTEST_SKIP() << "a GPU's rows are not told apart";
  const auto expected = values_after_steps(false);
  EXPECT_TRUE(at::equal(values_after_steps(true), expected));
  EXPECT_TRUE(at::equal(values_after_steps(true, 3), expected)) << "the rows reached before a resume are";
}

TEST(AdamW, LeavesMatmulsTheNewValues) {
  const auto classifier = classifier_with("no_dropout", "full");
  FlatParameters parameters = flatten(*classifier);
  for (model::Parameter* parameter : parameters.parameters) parameter->matmul_value(at::kBFloat16);
  const auto before = parameters.values.clone();
  parameters.gradients.fill_(0.5);
  AdamW(parameters, {}).step(0.1);
  EXPECT_GT((parameters.values - before).abs().min().item<double>(), 0.05);
  for (model::Parameter* parameter : parameters.parameters) {
    EXPECT_TRUE(at::equal(parameter->matmul_value(at::kBFloat16), parameter->value().to(at::kBFloat16)))
        << parameter->name();
  }
}

INSTANTIATE_TEST_SUITE_P(Types, AdamWBesideTorch, testing::Values(at::kDouble, at::kFloat),
                         [](const auto& instance) { return instance.param == at::kDouble ? "double" : "float"; });

TEST(Schedule, IsThatOfTransformers) {
  const model::SafetensorsFile expected(reference_directory() / "train" / "schedules.safetensors");
  ASSERT_EQ(expected.names().size(), 20U);
  for (const std::int64_t steps : {1, 2, 7, 50, 151}) {
    for (const double ratio : {0.0, 0.06, 0.5, 1.0}) {
      const auto factors = expected.tensor(fmt::format("{} {:.{}f}", steps, ratio, ratio == 0.06 ? 2 : 1));
      for (std::int64_t step = 0; step < steps; ++step) {
        EXPECT_DOUBLE_EQ(schedule_factor(step, steps, ratio), factors[step].item<double>())
            << "step " << step << " of " << steps << ", warm-up " << ratio;
      }
    }
  }
}

TEST(TotalSteps, AreEpochsAndAtLeastTheLeastAndAtMostTheMost) {
  TrainOptions options;
  EXPECT_EQ(total_steps(options, 100), 300);
  EXPECT_EQ(total_steps(options, 4), 100);
  options.epochs = 0.5;
  EXPECT_EQ(total_steps(options, 1001), 501);
  options.max_steps = 7;
  EXPECT_EQ(total_steps(options, 1001), 7);
}

TEST(LearningRate, IsTheMiddleOfTheGridUnlessGiven) {
  TrainOptions options;
  options.method = {"lora", {}};
  EXPECT_EQ(learning_rate_of(options), 1.5e-3);
  options.learning_rate = 0.25;
  EXPECT_EQ(learning_rate_of(options), 0.25);
}

}  // namespace
}  // namespace dtrain::train
