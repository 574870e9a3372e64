// Runs over several ranks whose gradients travel as bfloat16, against those that exchange floats.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <chrono>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "dist/mpi/mpi_communicator.h"
#include "tests/train/small_run.h"
#include "train/optimizer.h"
#include "train/training_step.h"

namespace dtrain::train {
namespace {

struct Trajectory {
  std::vector<double> losses;
  at::Tensor first_gradient;
  at::Tensor values;
  std::int64_t bytes = 0;   // of the last step
  std::int64_t counts = 0;  // of them, how many ranks have each row of a table: whole numbers
};

class OnTheWay : public testing::TestWithParam<std::pair<const char*, ShardOptimizer>> {
 protected:
  static constexpr int kSteps = 20;

  OnTheWay() {
    at::set_num_threads(1);
    options.bucket_bytes = 4096;
    options.shard_optimizer = GetParam().second;
  }

  Trajectory train(dist::WireFormat format) {
    const auto classifier = classifier_with("no_dropout", options.method.text());
    options.reduce_format = format;
    const RunContext context = context_over(*together);
    FeatureStore features(options.cache_memory);
    FlatParameters parameters = flatten(*classifier);
    TrainingStep step(*classifier, parameters, options, examples, context, features);
    AdamW optimizer(parameters, options, step.sharding());
    Trajectory trajectory;
    for (int i = 0; i < kSteps; ++i) {
      trajectory.losses.push_back(step.run(i).loss);
      if (i == 0) trajectory.first_gradient = parameters.gradients.to(at::kDouble);
      optimizer.step(1e-3);
    }
    trajectory.bytes = step.allreduce_bytes();
    for (const std::size_t table : parameters.tables)
      trajectory.counts += ranks > 1 ? 4 * parameters.parameters[table]->shape()[0] : 0;
    trajectory.values = parameters.values.clone();
    const auto all = together->all_gather(trajectory.values.view({1, -1}));
    EXPECT_TRUE(at::equal(all, all[0].expand_as(all))) << "the ranks have the same weights";
    return trajectory;
  }

  const std::unique_ptr<dist::Communicator> together =
      dist::make_mpi_communicator(MPI_COMM_WORLD, std::chrono::seconds(300));
  const int ranks = together->size();
  const Examples examples = random_data(60, 6);
  TrainOptions options = short_run(GetParam().first, kSteps);
};

TEST_P(OnTheWay, Bfloat16TrainsNearlyAlikeForHalfTheBytes) {
  const Trajectory exact = train(dist::WireFormat::fp32);
  const Trajectory rounded = train(dist::WireFormat::bf16);
  EXPECT_TRUE(at::equal(train(dist::WireFormat::bf16).values, rounded.values)) << "it repeats itself";
  EXPECT_EQ(exact.bytes - exact.counts, 2 * (rounded.bytes - rounded.counts));
  EXPECT_EQ(exact.losses[0], rounded.losses[0]);
  if (ranks == 1) {
    EXPECT_TRUE(at::equal(exact.values, rounded.values)) << "nothing is exchanged, and nothing rounded";
    return;
  }
  EXPECT_GT(exact.bytes, 0);
  EXPECT_FALSE(at::equal(exact.values, rounded.values));
  for (int i = 0; i < kSteps; ++i) EXPECT_NEAR(rounded.losses[i], exact.losses[i], 0.01 * exact.losses[i]) << i;
  // AdamW moves a number by about the rate a step, 0.02 in all, and where its gradient is noise, as it happens to fall.
  EXPECT_LT((rounded.values - exact.values).abs().mean().item<double>(), 0.001);
  if (GetParam().second == ShardOptimizer::on) return;  // what a rank lacks of the sum is of no meaning
  // Each gradient and each sum is rounded; of parts that cancel each other more is left than of others.
  const auto difference = (rounded.first_gradient - exact.first_gradient).norm().item<double>();
  EXPECT_LT(difference, std::ldexp(ranks, -8) * exact.first_gradient.norm().item<double>());
}

TEST_P(OnTheWay, GradientsOfVirtualRanksAreFloats) {
  options.virtual_ranks = 4;
  EXPECT_THROW(train(dist::WireFormat::bf16), std::logic_error);
}

INSTANTIATE_TEST_SUITE_P(Methods, OnTheWay,
                         testing::Values(std::pair("full", ShardOptimizer::off), std::pair("full", ShardOptimizer::on),
                                         std::pair("lora", ShardOptimizer::off)),
                         [](const auto& instance) {
                           return std::string(instance.param.first) +
                                  (instance.param.second == ShardOptimizer::on ? "_sharded" : "");
                         });

}  // namespace
}  // namespace dtrain::train
