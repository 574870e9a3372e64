// Runs over several ranks, each a process: what one rank computes alone is what they must compute together.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>
#include <unistd.h>

#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "tests/train/over_ranks.h"
#include "train/evaluation.h"
#include "train/not_finite.h"
#include "train/optimizer.h"
#include "train/slow_rank.h"
#include "train/training_step.h"

namespace dtrain::train {
namespace {

namespace fs = std::filesystem;

TEST_F(OverRanks, TheGradientIsThatOfOneRank) {
  for (const char* method : {"full", "lora", "head", "layers:k=1"}) {
    for (const bool overlap : {true, false}) {
      std::vector<at::Tensor> gradients;
      for (dist::Communicator* communicator : {together.get(), alone.get()}) {
        const auto classifier = classifier_with("no_dropout", method);
        TrainOptions options = short_run(method, 1);
        options.batch_size = 5;  // no number of ranks divides it but one
        options.bucket_bytes = 4096;
        options.overlap = overlap;
        const RunContext context = context_over(*communicator);
        FeatureStore features(options.cache_memory);
        FlatParameters parameters = flatten(*classifier);
        TrainingStep step(*classifier, parameters, options, examples, context, features);
        step.run(1);
        gradients.push_back(parameters.gradients.clone());
      }
      EXPECT_LT((gradients[0] - gradients[1]).abs().max().item<double>(), 1e-5) << method;
    }
  }
}

TEST_F(OverRanks, EachObjectiveHasTheLossTheGradientAndTheScoresOfOneRank) {
  for (const Objective* objective : objectives()) {
    const ProblemType type = objective->type();
    SCOPED_TRACE(problem_type_name(type));
    const Examples set = random_data(60, 6, 0, type);
    TrainOptions options = short_run("lora", 1);
    options.problem_type = type;
    options.batch_size = 7;
    options.loss.balanced = type != ProblemType::regression;
    options.loss.label_smoothing = type == ProblemType::single_label_classification ? 0.1 : 0;
    std::vector<at::Tensor> gradients;
    std::vector<double> losses;
    std::vector<Evaluation> evaluations;
    for (dist::Communicator* communicator : {together.get(), alone.get()}) {
      const auto classifier = classifier_with("no_dropout", "lora", model::Pooling::mean, type);
      const RunContext context = context_over(*communicator);
      FeatureStore features(options.cache_memory);
      FlatParameters parameters = flatten(*classifier);
      TrainingStep step(*classifier, parameters, options, set, context, features);
      losses.push_back(step.run(1).loss);
      gradients.push_back(parameters.gradients.clone());
      evaluations.push_back(evaluate(*classifier, set, *objective, context));
    }
    EXPECT_NEAR(losses[0], losses[1], 1e-6);
    EXPECT_LT((gradients[0] - gradients[1]).abs().max().item<double>(), 1e-5);
    EXPECT_EQ(evaluations[0].scores, evaluations[1].scores);
    EXPECT_EQ(evaluations[0].values, evaluations[1].values);
    EXPECT_EQ(metrics_json(evaluations[0].metrics), metrics_json(evaluations[1].metrics));
  }
}

TEST_F(OverRanks, SayOnceWhatDoesNotFitTheCachesOfAll) {
  std::vector<std::string> warnings;
  RunContext context = context_over(*together);
  context.log.warning = [&](std::string_view text) { warnings.emplace_back(text); };
  const auto classifier = classifier_with("new_gelu", "head");
  FeatureStore features(1);
  for (int i = 0; i < 2; ++i) score(*classifier, dev, context, &features);
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_THAT(warnings[0], testing::HasSubstr("1000 of 1000 examples does not fit"));
}

TEST_F(OverRanks, VirtualRanksGiveTheBytesOfOneRank) {
  // Of every kind that does something of its own in the course of a run or draws numbers of its own.
  const char* const methods[] = {"full",
                                 "head",
                                 "layers:k=1",
                                 "lp-ft",
                                 "gradual",
                                 "lora:lora_dropout=0.1",
                                 "adalora",
                                 "loha:rank_dropout=0.2:module_dropout=0.2",
                                 "prefix:prefix_projection=true",
                                 "p-tuning:encoder_reparameterization_type=LSTM:encoder_dropout=0.1",
                                 "unipelt"};
  for (const char* method : methods) {
    SCOPED_TRACE(method);
    std::vector<at::Tensor> values;
    std::vector<TrainReport> reports;
    for (dist::Communicator* communicator : {together.get(), alone.get()}) {
      const auto classifier = classifier_with("new_gelu", method);
      TrainOptions options = short_run(method, 20);
      options.virtual_ranks = 4;
      options.shard_optimizer = ShardOptimizer::on;
      FeatureStore features(options.cache_memory);
      reports.push_back(train(*classifier, examples, few, options, {}, context_over(*communicator), features));
      values.push_back(all_values(*classifier));
    }
    EXPECT_TRUE(at::equal(values[0], values[1]));
    EXPECT_EQ(reports[0].best_step, reports[1].best_step);
    EXPECT_EQ(reports[0].dev->metrics.value("log_loss"), reports[1].dev->metrics.value("log_loss"));
    EXPECT_EQ(reports[0].allreduce_bytes_per_step, ranks() == 1 ? 0 : 4 * reports[0].trainable_parameters);
  }
}

TEST_F(OverRanks, AShardedOptimizerKeepsAShareOfItsStateAndTrainsAlike) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    std::map<ShardOptimizer, at::Tensor> values, moments;
    for (const ShardOptimizer sharding : {ShardOptimizer::off, ShardOptimizer::on}) {
      const auto classifier = classifier_with("no_dropout", "full");
      TrainOptions options = short_run("full", 6);
      options.bucket_bytes = 4096;
      options.shard_optimizer = sharding;
      RunContext context = context_over(*together);
      context.matmul_type = type;
      FeatureStore features(options.cache_memory);
      FlatParameters parameters = flatten(*classifier);
      TrainingStep step(*classifier, parameters, options, examples, context, features);
      AdamW optimizer(parameters, options, step.sharding());
      for (int i = 0; i < 6; ++i) {
        step.run(i);
        optimizer.step(1e-3);
      }
      EXPECT_TRUE(alike(parameters.values));
      for (model::Parameter* parameter : parameters.parameters) {
        EXPECT_TRUE(at::equal(parameter->matmul_value(type), parameter->value().to(type))) << parameter->name();
      }
      values[sharding] = parameters.values.clone();
      const AdamW::Moments all = optimizer.moments();
      if (rank() == 0) moments[sharding] = at::cat({all.first, all.second.sqrt()});
      const std::int64_t whole = 2 * parameters.bytes();
      const bool shares = sharding == ShardOptimizer::on && ranks() > 1;
      // What is too little to share: of each bucket, and a row of the table.
      EXPECT_LE(optimizer.moment_bytes(), shares ? whole / ranks() + whole / 10 : whole);
      EXPECT_EQ(step.sharding().on(), shares);
    }
    // Gradients and norm are summed in another order, and AdamW makes steps of noise where a gradient is zero in
    // theory.
    const double tolerance = type == at::kFloat ? 1e-6 : 1e-4;
    const auto difference = [](std::map<ShardOptimizer, at::Tensor>& of) {
      return (of[ShardOptimizer::on] - of[ShardOptimizer::off]).abs();
    };
    EXPECT_LT(difference(values).mean().item<double>(), tolerance);
    if (rank() == 0) {
      EXPECT_GT(moments[ShardOptimizer::on].abs().max().item<double>(), 1e-3);
      EXPECT_LT(difference(moments).max().item<double>(), tolerance);
    }
  }
}

TEST_F(OverRanks, AShardedRunThatWasStoppedGoesOnToTheSameBytes) {
  const auto folder = shared_folder();
  TrainOptions options = short_run("full", 20);
  options.shard_optimizer = ShardOptimizer::on;
  options.bucket_bytes = 4096;
  const auto run = [&](const RunFiles& files, std::int64_t stop_after) {
    const auto classifier = classifier_with("new_gelu", "full");
    RunContext context = context_over(*together);
    std::int64_t steps = 0;
    context.stop_requested = [&] { return ++steps == stop_after; };
    FeatureStore features(options.cache_memory);
    train(*classifier, examples, few, options, files, context, features);
    return all_values(*classifier);
  };
  const auto whole = run({}, 0);
  EXPECT_THROW(run({{}, folder / "checkpoint", false}, 11), Stopped);
  EXPECT_TRUE(at::equal(run({{}, folder / "checkpoint", true}, 0), whole));
}

TEST_F(OverRanks, AShardedOptimizerIsLeftWhereAMethodReadsWholeGradients) {
  const auto classifier = classifier_with("no_dropout", "adalora");
  TrainOptions options = short_run("adalora", 6);
  options.shard_optimizer = ShardOptimizer::on;
  const RunContext context = context_over(*together);
  const auto method = peft::make_method(options.method);
  const auto hooks = method->start_training_hooks(*classifier, 6);
  FeatureStore features(options.cache_memory);
  FlatParameters parameters = flatten(*classifier);
  EXPECT_FALSE(
      TrainingStep(*classifier, parameters, options, examples, context, features, hooks.get()).sharding().on());
}

TEST_F(OverRanks, ARunThatOneRankLeftGoesOnToTheSameBytes) {
  // In the middle of the second phase of the one, and of the fourth of the other, of those that have phases.
  for (const char* method : {"full", "lora", "adalora", "lp-ft", "gradual:unfreezing_share=0.8"}) {
    SCOPED_TRACE(method);
    const auto folder = shared_folder();
    TrainOptions options = short_run(method, 20);
    options.virtual_ranks = 4;
    options.shard_optimizer = ShardOptimizer::on;
    const auto run = [&](dist::Communicator& communicator, const RunFiles& files, std::int64_t stop_after) {
      const auto classifier = classifier_with("new_gelu", method);
      RunContext context = context_over(communicator);
      std::int64_t steps = 0;
      context.stop_requested = [&] { return ++steps == stop_after; };
      FeatureStore features(options.cache_memory);
      train(*classifier, examples, few, options, files, context, features);
      return all_values(*classifier);
    };
    const auto whole = run(*alone, {}, 0);
    if (rank() == 0) {
      EXPECT_THROW(run(*alone, {{}, folder / "checkpoint", false}, 11), Stopped);
    }
    together->barrier();
    EXPECT_TRUE(at::equal(run(*together, {{}, folder / "checkpoint", true}, 0), whole));
  }
}

TEST_F(OverRanks, ASignalToOneRankStopsAll) {
  const auto folder = shared_folder();
  const auto classifier = classifier_with("new_gelu", "head");
  TrainOptions options = short_run("head", 20);
  RunContext context = context_over(*together);
  std::int64_t steps = 0;
  context.stop_requested = [&] { return ++steps == 4 && rank() == ranks() - 1; };
  FeatureStore features(options.cache_memory);
  EXPECT_THAT(
      [&] {
        train(*classifier, examples, {}, options, {{}, folder, false}, context, features);
      },
      testing::ThrowsMessage<Stopped>(testing::HasSubstr("after step 4 of 20")));
  together->barrier();
  EXPECT_TRUE(fs::exists(folder / "step-4" / "state.json"));
}

TEST_F(OverRanks, ASignalToOneRankInAnEvaluationOfDevStopsAllAndTheEvaluationIsMadeUpFor) {
  // Features of the frozen part are made first, or not.
  for (const char* method : {"lora", "head"}) {
    SCOPED_TRACE(method);
    const auto folder = shared_folder();
    TrainOptions options = short_run(method, 16);
    options.virtual_ranks = 4;
    const auto run = [&](const RunFiles& files, bool stops) {
      const auto classifier = classifier_with("new_gelu", method);
      RunContext context = context_over(*together);
      std::int64_t steps = 0;
      context.stop_requested = [&] {
        ++steps;
        return false;
      };
      context.end_if_stopped = [&] {
        if (stops && steps == 8 && rank() == ranks() - 1) throw Stopped("asked to");
      };
      FeatureStore features(options.cache_memory);
      train(*classifier, examples, dev, options, files, context, features);
      return all_values(*classifier);
    };
    const auto whole = run({}, false);
    EXPECT_THAT(
        [&] {
          run({{}, folder / "checkpoint", false}, true);
        },
        testing::ThrowsMessage<Stopped>(testing::HasSubstr("after step 8 of 16; the checkpoint is written")));
    EXPECT_TRUE(at::equal(run({{}, folder / "checkpoint", true}, false), whole));
  }
}

// Those of another source, which this rank takes `delay` longer to put together.
class SlowSource final : public ExampleSource {
 public:
  SlowSource(const Examples& examples, std::chrono::milliseconds delay) : examples_(examples), delay_(delay) {}
  std::int64_t size() const override { return examples_.size(); }
  std::int32_t length(std::int64_t index) const override { return examples_.length(index); }
  std::string digest() const override { return examples_.digest(); }
  model::TokenBatch collate(const std::vector<std::int64_t>& indices, at::Device device) const override {
    std::this_thread::sleep_for(delay_);
    return examples_.collate(indices, device);
  }

 private:
  const Examples& examples_;
  std::chrono::milliseconds delay_;
};

TEST_F(OverRanks, AreToldOnceWhichOfThemIsMuchSlowerThanTheOthers) {
  const bool is_slow = rank() == ranks() - 1;
  const Examples slow(std::make_shared<SlowSource>(examples, std::chrono::milliseconds(is_slow ? 50 : 0)),
                      examples.targets());
  std::vector<std::string> warnings;
  RunContext context = context_over(*together);
  context.log.warning = [&](std::string_view text) { warnings.emplace_back(text); };
  const auto classifier = classifier_with("no_dropout", "lora");
  FeatureStore features(0);
  train(*classifier, slow, {}, short_run("lora", SlowRankWatch::kWindow + 1), {}, context, features);
  if (ranks() == 1) {
    EXPECT_TRUE(warnings.empty());
    return;
  }
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  EXPECT_THAT(warnings, testing::ElementsAre(
                            testing::HasSubstr("rank " + std::to_string(ranks() - 1) + " on " + host + " computes ")));
}

TEST_F(OverRanks, WaitForOneThatLoadsLongerThanACollectiveMayTake) {
  const auto impatient = dist::make_mpi_communicator(MPI_COMM_WORLD, std::chrono::seconds(2));
  const auto classifier = classifier_with("new_gelu", "head");
  FeatureStore features(0);
  const TrainOptions options = short_run("head", 2);
  if (ranks() > 1 && rank() == ranks() - 1) std::this_thread::sleep_for(std::chrono::seconds(4));
  EXPECT_NO_THROW(train(*classifier, examples, {}, options, {}, context_over(*impatient), features));
  EXPECT_EQ(impatient->timeout(), std::chrono::seconds(2)) << "of a collective";
}

TEST_F(OverRanks, ASignalToOneRankThatScoresStopsAll) {
  RunContext context = context_over(*together);
  context.end_if_stopped = [&] {
    if (rank() == ranks() - 1) throw Stopped("asked to");
  };
  for (const char* method : {"full", "head"}) {
    const auto classifier = classifier_with("new_gelu", method);
    FeatureStore features(1 << 24);
    EXPECT_THROW(score(*classifier, dev, context, &features), Stopped) << method;
  }
  // And they go on together.
  together->barrier();
}

TEST_F(OverRanks, EvaluationGivesTheBytesOfOneRank) {
  for (const char* method : {"full", "head", "layers:k=1"}) {
    for (const auto pooling : {model::Pooling::pooler, model::Pooling::mean}) {
      SCOPED_TRACE(std::string(method) + " " + model::pooling_name(pooling));
      const auto classifier = classifier_with("new_gelu", method, pooling);
      const auto expected = score(*classifier, dev, context_over(*alone));
      EXPECT_TRUE(at::equal(score(*classifier, dev, context_over(*together)), expected));
      FeatureStore features(1 << 24);
      EXPECT_TRUE(at::equal(score(*classifier, dev, context_over(*together), &features), expected)) << "cached";
    }
  }
}

TEST_F(OverRanks, ALossThatIsNotFiniteOnOneRankStopsAll) {
  const auto classifier = classifier_with("new_gelu", "full");
  // One token of one example: the other ranks' shares stay finite.
  const auto* words = classifier->encoder().embedding_parameters()[0];
  const auto eight = dataset_of(
      at::tensor(std::vector<std::int64_t>{7, 8, 9, 7, 8, 9, 7, 8, 9, 7, 8, 9, 7, 8, 9, 7, 8, 9, 7, 8, 9, 7, 8, 50}),
      at::zeros({24}, at::kLong), at::arange(0, 25, 3, at::kLong), at::zeros({8}, at::kLong), 4);
  words->value()[50].fill_(std::numeric_limits<float>::infinity());
  FeatureStore features(0);
  FlatParameters parameters = flatten(*classifier);
  const TrainOptions options = short_run("full", 1);
  const RunContext context = context_over(*together);
  TrainingStep step(*classifier, parameters, options, eight, context, features);
  EXPECT_THAT([&] { step.run(0); }, testing::ThrowsMessage<TrainingError>(testing::HasSubstr("the loss of step 1 is")));
}

TEST_F(OverRanks, AGradientThatIsNotFiniteStopsAllAtItsStep) {
  for (const ShardOptimizer sharding : {ShardOptimizer::off, ShardOptimizer::on}) {
    for (const std::int64_t broken : {1, 4}) {
      const auto classifier = classifier_with("new_gelu", "full");
      TrainOptions options = short_run("full", 6);
      options.shard_optimizer = sharding;
      options.bucket_bytes = 4096;
      RunContext context = context_over(*together);
      std::int64_t steps = 0;
      context.stop_requested = [&] {  // asked once a step, when the gradients are summed
        constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
        if (++steps == broken) classifier->classifier.weight.gradient().view(-1)[0].fill_(kNaN);
        return false;
      };
      FeatureStore features(options.cache_memory);
      EXPECT_THAT([&] { train(*classifier, examples, few, options, {}, context, features); },
                  testing::ThrowsMessage<NotFiniteError>(
                      testing::HasSubstr("the gradient of step " + std::to_string(broken) + " (examples ")));
    }
  }
}

TEST_F(OverRanks, VirtualRanksThatTheRanksDoNotDivideAreRefused) {
  const auto classifier = classifier_with("new_gelu", "head");
  TrainOptions options = short_run("head", 1);
  options.virtual_ranks = ranks() + 1;
  FeatureStore features(0);
  FlatParameters parameters = flatten(*classifier);
  const RunContext context = context_over(*together);
  const auto make = [&] { TrainingStep(*classifier, parameters, options, examples, context, features); };
  if (ranks() == 1) {
    EXPECT_NO_THROW(make());
  } else {
    EXPECT_THAT(make,
                testing::ThrowsMessage<UsageError>(testing::HasSubstr("must be a multiple of the number of ranks")));
  }
}

}  // namespace
}  // namespace dtrain::train
