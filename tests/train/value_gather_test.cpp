// Values that a sharded optimiser's ranks send each other while the next forward pass runs: over ranks whose gathers
// come as late as they may, what is read too early is not a number.

#include "train/value_gather.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "dist/mpi/mpi_communicator.h"
#include "tests/train/small_run.h"
#include "train/evaluation.h"
#include "train/optimizer.h"
#include "train/training_step.h"

namespace dtrain::train {
namespace {

namespace fs = std::filesystem;

/// What has become of the gathers of a LateCommunicator.
struct Gathers {
  int begun = 0;
  int ended = 0;
  int polls = 0;
};

/// Ends when it is waited for, and not before.
class LateWork final : public dist::Work {
 public:
  LateWork(std::unique_ptr<dist::Work> gather, at::Tensor arriving, at::Tensor rows, Gathers& gathers)
      : gather_(std::move(gather)), arriving_(std::move(arriving)), rows_(std::move(rows)), gathers_(gathers) {}

  bool test() override {
    ++gathers_.polls;
    if (!ended_) gather_->test();
    return ended_;
  }
  void wait() override {
    if (ended_) return;
    gather_->wait();
    rows_.copy_(arriving_);
    ended_ = true;
    ++gathers_.ended;
  }

 private:
  std::unique_ptr<dist::Work> gather_;
  at::Tensor arriving_;
  at::Tensor rows_;
  Gathers& gathers_;
  bool ended_ = false;
};

/// The ranks of another communicator; what is gathered in place is not a number until it is waited for.
class LateCommunicator final : public dist::Communicator {
 public:
  explicit LateCommunicator(dist::Communicator& ranks) : ranks_(ranks) {}

  std::unique_ptr<dist::Work> start_all_gather(const at::Tensor& rows) override {
    const at::Tensor arriving = rows.clone();
    auto gather = ranks_.start_all_gather(arriving);
    const std::int64_t share = rows.size(0) / size();
    for (int other = 0; other < size(); ++other) {
      if (other != rank()) rows.narrow(0, other * share, share).fill_(std::numeric_limits<float>::quiet_NaN());
    }
    ++gathers.begun;
    return std::make_unique<LateWork>(std::move(gather), arriving, rows, gathers);
  }

  std::string_view name() const override { return ranks_.name(); }
  int rank() const override { return ranks_.rank(); }
  int size() const override { return ranks_.size(); }
  std::chrono::milliseconds timeout() const override { return ranks_.timeout(); }
  void set_timeout(std::chrono::milliseconds timeout) override { ranks_.set_timeout(timeout); }
  std::unique_ptr<dist::Work> start_all_reduce(const at::Tensor& tensor) override {
    return ranks_.start_all_reduce(tensor);
  }
  std::unique_ptr<dist::Work> start_reduce_scatter(const at::Tensor& rows) override {
    return ranks_.start_reduce_scatter(rows);
  }
  void broadcast(const at::Tensor& tensor, int root) override { ranks_.broadcast(tensor, root); }
  at::Tensor all_gather(const at::Tensor& rows) override { return ranks_.all_gather(rows); }
  void send(const at::Tensor& tensor, int to) override { ranks_.send(tensor, to); }
  void receive(const at::Tensor& tensor, int from) override { ranks_.receive(tensor, from); }
  void barrier() override { ranks_.barrier(); }
  std::unique_ptr<dist::Communicator> split(int colour) override { return ranks_.split(colour); }
  dist::RankCounters& counters_beside() override { return ranks_.counters_beside(); }

  Gathers gathers;

 private:
  dist::Communicator& ranks_;
};

class ValuesUnderWay : public testing::Test {
 protected:
  ValuesUnderWay() { at::set_num_threads(1); }

  /// All else goes over the ranks themselves.
  RunContext context_with(dist::Communicator& gradients, at::ScalarType matmul_type = at::kFloat) const {
    return {*together, gradients, test_device(), matmul_type, Log(), [] { return false; }};
  }

  static TrainOptions sharded(const std::string& method, std::int64_t steps) {
    TrainOptions options = short_run(method, steps);
    options.bucket_bytes = 4096;
    options.shard_optimizer = ShardOptimizer::on;
    return options;
  }

  const std::unique_ptr<dist::Communicator> together =
      dist::make_mpi_communicator(MPI_COMM_WORLD, std::chrono::seconds(300));
  const int rank = together->rank();
  const int ranks = together->size();
  LateCommunicator late{*together};
  const Examples examples = random_data(60, 6);
  const Examples dev = random_data(30, 7);
};

TEST_F(ValuesUnderWay, ArriveInTheReverseOrderOfTheFlatBufferAsFarAsTheyAreJoined) {
  const dist::ShardLayout layout({{0, 192}}, ranks, 64);
  ASSERT_EQ(layout.buckets().size(), 3U);
  FlatParameters parameters;
  parameters.offsets = {0, 64, 130, 192};  // the second ends in the last bucket
  parameters.values = at::full({192}, rank + 1.0F);
  const auto expected = at::arange(1, ranks + 1, at::kFloat).repeat_interleave(64 / ranks).repeat({3});
  const auto has_from = [&](std::int64_t begin) {
    return at::equal(parameters.values.slice(0, begin), expected.slice(0, begin));
  };
  ValueGather gather(parameters);
  gather.start(late, layout);
  EXPECT_EQ(late.gathers.begun, 3);
  EXPECT_EQ(late.gathers.ended, 0);
  gather.join(2);
  EXPECT_EQ(late.gathers.ended, 1);
  EXPECT_TRUE(has_from(130));
  gather.join(2);
  EXPECT_EQ(late.gathers.polls, 1) << "MPI moves what is under way only inside of its calls";
  gather.join(1);
  EXPECT_EQ(late.gathers.ended, 2);
  EXPECT_TRUE(has_from(64));
  EXPECT_EQ(has_from(0), ranks == 1);
  gather.wait();
  EXPECT_EQ(late.gathers.ended, 3);
  EXPECT_TRUE(has_from(0));
  EXPECT_EQ(gather.bytes(), 4 * 192);
  gather.join(0);
  EXPECT_EQ(late.gathers.polls, 1) << "nothing is under way";
}

TEST_F(ValuesUnderWay, TrainTheBytesOfARunThatWaitsForThem) {
  struct Case {
    std::int64_t batch_size = 8;  // of two, some ranks have no example
    std::int64_t micro_batch_size = 0;
    int virtual_ranks = 0;
    at::ScalarType matmul_type = at::kFloat;
  };
  const std::vector<Case> cases = {
      {}, {.batch_size = 2}, {.micro_batch_size = 1}, {.virtual_ranks = 4}, {.matmul_type = at::kBFloat16}};
  for (const Case& each : cases) {
    SCOPED_TRACE(&each - cases.data());
    std::vector<std::vector<double>> losses;
    std::vector<at::Tensor> values;
    for (const bool overlap : {false, true}) {
      TrainOptions options = sharded("full", 6);
      options.overlap = overlap;
      options.batch_size = each.batch_size;
      options.micro_batch_size = each.micro_batch_size;
      options.virtual_ranks = each.virtual_ranks;
      const auto classifier = classifier_with("new_gelu", "full");
      const RunContext context = context_with(overlap ? late : *together, each.matmul_type);
      FeatureStore features(0);
      FlatParameters parameters = flatten(*classifier);
      TrainingStep step(*classifier, parameters, options, examples, context, features);
      AdamW optimizer(parameters, options, step.sharding(), &step.gather());
      auto& of_run = losses.emplace_back();
      for (int i = 0; i < 6; ++i) {
        of_run.push_back(step.run(i).loss);
        optimizer.step(1e-3);
      }
      EXPECT_EQ(late.gathers.begun > late.gathers.ended, overlap && ranks > 1) << "left under way by the last step";
      step.gather().wait();
      values.push_back(parameters.values.clone());
      for (model::Parameter* parameter : parameters.parameters) {
        EXPECT_TRUE(at::equal(parameter->matmul_value(each.matmul_type), parameter->value().to(each.matmul_type)))
            << parameter->name();
      }
    }
    EXPECT_EQ(losses[0], losses[1]);
    EXPECT_TRUE(at::equal(values[0], values[1]));
  }
  EXPECT_EQ(late.gathers.polls > 0, ranks > 1);
}

TEST_F(ValuesUnderWay, AreWaitedForByWhoeverReadsTheModelAfterAStep) {
  const auto evaluation = [&](model::Classifier& classifier) {
    return score(classifier, dev, context_with(*together));
  };
  const auto saving = [](model::Classifier& classifier) { return all_values(classifier); };
  const std::vector<std::function<at::Tensor(model::Classifier&)>> readers = {evaluation, saving};
  for (const auto& read : readers) {
    std::vector<at::Tensor> found;
    for (const bool overlap : {false, true}) {
      TrainOptions options = sharded("full", 1);
      options.overlap = overlap;
      const auto classifier = classifier_with("new_gelu", "full");
      const RunContext context = context_with(overlap ? late : *together);
      FeatureStore features(0);
      FlatParameters parameters = flatten(*classifier);
      TrainingStep step(*classifier, parameters, options, examples, context, features);
      AdamW optimizer(parameters, options, step.sharding(), &step.gather());
      step.run(0);
      optimizer.step(1e-2);
      found.push_back(read(*classifier));
    }
    EXPECT_TRUE(at::equal(found[0], found[1]));
  }
}

// Checkpoints, evaluations of dev, phases and hooks that write into values follow steps at once.
TEST_F(ValuesUnderWay, LeaveARunAndItsCheckpointsTheSameBytes) {
  for (const char* method : {"full", "lp-ft", "oft:nearest_divisor=true:coft=true"}) {
    SCOPED_TRACE(method);
    const fs::path folder = reference_directory() / ("values_under_way_on_" + std::to_string(ranks));
    together->barrier();
    if (rank == 0) {
      fs::remove_all(folder);
      fs::create_directories(folder);
    }
    together->barrier();
    const auto run = [&](bool overlap, const Examples& scored, const RunFiles& files, std::int64_t stop_after) {
      TrainOptions options = sharded(method, 12);
      options.overlap = overlap;
      options.save_steps = 2;
      const auto classifier = classifier_with("new_gelu", method);
      RunContext context = context_with(overlap ? late : *together);
      std::int64_t steps = 0;
      context.stop_requested = [&] { return ++steps == stop_after; };
      FeatureStore features(options.cache_memory);
      train(*classifier, examples, scored, options, files, context, features);
      return all_values(*classifier);
    };
    EXPECT_TRUE(at::equal(run(true, {}, {}, 0), run(false, {}, {}, 0))) << "the last step is followed by nothing";
    const auto whole = run(false, dev, {}, 0);
    EXPECT_THROW(run(true, dev, {{}, folder, false}, 7), Stopped);
    EXPECT_TRUE(at::equal(run(true, dev, {{}, folder, true}, 0), whole));
    EXPECT_THROW(run(true, dev, {}, 7), Stopped) << "without a checkpoint";
    EXPECT_EQ(late.gathers.begun, late.gathers.ended);
  }
  EXPECT_EQ(late.gathers.begun > 0, ranks > 1);
}

TEST_F(ValuesUnderWay, EndWhereAnExceptionLeavesTheRunAfterAStep) {
  const auto leave = [&](dist::Communicator& gradients, bool by_exception) {
    const TrainOptions options = sharded("full", 2);
    const auto classifier = classifier_with("no_dropout", "full");
    const RunContext context = context_with(gradients);
    FeatureStore features(0);
    FlatParameters parameters = flatten(*classifier);
    TrainingStep step(*classifier, parameters, options, examples, context, features);
    AdamW optimizer(parameters, options, step.sharding(), &step.gather());
    step.run(0);
    optimizer.step(1e-3);
    if (by_exception) throw std::runtime_error("between two steps");
  };
  for (dist::Communicator* gradients : std::vector<dist::Communicator*>{&late, together.get()}) {
    for (const bool on_all : {true, false}) {
      if (on_all || rank == 0) {
        EXPECT_THROW(leave(*gradients, true), std::runtime_error);
      } else {
        leave(*gradients, false);
      }
      EXPECT_EQ(late.gathers.begun, late.gathers.ended);
      EXPECT_NO_THROW(together->barrier()) << "the ranks are still of use to each other";
    }
  }
  EXPECT_EQ(late.gathers.begun > 0, ranks > 1);
}

TEST_F(ValuesUnderWay, OfARankThatDoesNotComeAreLeftWithinTheTimeout) {
  const auto communicator = dist::make_mpi_communicator(MPI_COMM_WORLD, std::chrono::milliseconds(300));
  FlatParameters parameters;
  parameters.offsets = {0, 192};
  parameters.values = at::ones({192});
  if (rank != ranks - 1) {
    const auto begin = std::chrono::steady_clock::now();
    const auto leave = [&] {
      ValueGather gather(parameters);
      gather.start(*communicator, dist::ShardLayout({{0, 192}}, ranks, 64));
      throw std::runtime_error("between two steps");
    };
    EXPECT_THROW(leave(), std::runtime_error);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
    EXPECT_THROW(communicator->barrier(), CommunicationError);
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

}  // namespace
}  // namespace dtrain::train
