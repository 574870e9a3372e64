// Memory that runs out on one rank: every rank learns of it, and they go on together.

#include "train/out_of_memory.h"

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/train/over_ranks.h"
#include "train/compute_apart.h"
#include "train/evaluation.h"
#include "train/training_step.h"

namespace dtrain::train {
namespace {

using testing::Optional;

/// Examples of another source, whose collating asks for memory that may not be there.
class HungrySource final : public ExampleSource {
 public:
  HungrySource(const Examples& examples, std::function<void()> take) : examples_(examples), take_(std::move(take)) {}
  std::int64_t size() const override { return examples_.size(); }
  std::int32_t length(std::int64_t index) const override { return examples_.length(index); }
  std::string digest() const override { return examples_.digest(); }
  model::TokenBatch collate(const std::vector<std::int64_t>& indices, at::Device device) const override {
    take_();
    return examples_.collate(indices, device);
  }

 private:
  Examples examples_;
  std::function<void()> take_;
};

/// While it lives, a tensor of the host of more than `most` bytes is one too many.
class SmallMemory final : public c10::Allocator {
 public:
  explicit SmallMemory(std::size_t most) : most_(most), usual_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(this); }
  ~SmallMemory() override { c10::SetCPUAllocator(usual_); }
  SmallMemory(const SmallMemory&) = delete;
  SmallMemory& operator=(const SmallMemory&) = delete;
  c10::DataPtr allocate(std::size_t bytes) override {
    if (bytes > most_) throw std::bad_alloc();
    return usual_->allocate(bytes);
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { usual_->copy_data(to, from, bytes); }

 private:
  std::size_t most_;
  c10::Allocator* usual_;
};

class MemoryOfRanks : public OverRanks {
 protected:
  Examples hungry(const Examples& given) {
    return {std::make_shared<const HungrySource>(given, [this] { take(); }), given.targets()};
  }
  /// Throws on the last rank, where it is called for the time that was chosen.
  void take() {
    if (rank() == ranks() - 1 && ++taken_ == fails_at_) throw std::bad_alloc();
  }
  void fail_at(int time) {
    taken_ = 0;
    fails_at_ = time;
  }

  /// What every rank throws alike; empty: nothing.
  template <typename Call>
  std::string error_of(const Call& call) {
    std::string error;
    try {
      call();
    } catch (const OutOfMemoryError& thrown) {
      error = thrown.what();
    }
    const auto text = at::zeros({256}, at::kByte);
    std::copy_n(error.data(), std::min<std::size_t>(error.size(), 255), text.mutable_data_ptr<std::uint8_t>());
    EXPECT_TRUE(alike(text)) << error;
    return error;
  }
  std::string expected_error() const {
    const std::string lack = lack_of_memory(std::bad_alloc(), "").value();
    return ranks() > 1 ? fmt::format("rank {}: {}", ranks() - 1, lack) : lack;
  }

  int taken_ = 0;
  int fails_at_ = 0;  // 0: never
};

TEST(LackOfMemory, IsFoundInWhatLibTorchThrows) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "not run: a sanitizer ends a process that asks for so much";
#endif
  std::optional<std::string> lack;
  try {
    at::empty({std::int64_t{1} << 50});
  } catch (const std::exception& error) {
    lack = lack_of_memory(error, "less needs less");
  }
  EXPECT_THAT(lack, Optional(testing::AllOf(testing::StartsWith("out of memory; less needs less ("),
                                            testing::HasSubstr(" (can't allocate memory: you tried to allocate"))));
}

TEST(LackOfMemory, IsToldFromOtherErrors) {
  EXPECT_EQ(lack_of_memory(std::bad_alloc(), "less needs less"), "out of memory; less needs less");
  EXPECT_EQ(lack_of_memory(std::bad_alloc(), ""), "out of memory");
  std::optional<std::string> lack = "not thrown";
  try {
    at::ones({2}).add(at::ones({3}));
  } catch (const std::exception& error) {
    lack = lack_of_memory(error, "less needs less");
  }
  EXPECT_EQ(lack, std::nullopt);
  EXPECT_EQ(lack_of_memory(std::runtime_error("out of ideas"), ""), std::nullopt);
}

// In the forward and the backward pass of each way to exchange gradients, wherever a weight is read.
TEST_F(MemoryOfRanks, ThatRunsOutInAStepIsTheErrorOfEveryRankAndTheNextStepIsTakenTogether) {
  struct Way {
    const char* method;
    ShardOptimizer sharding = ShardOptimizer::off;
    std::int64_t virtual_ranks = 0;
    dist::WireFormat format = dist::WireFormat::fp32;
  };
  for (const Way& way :
       {Way{"full"}, Way{"lora"}, Way{"head"}, Way{"full", ShardOptimizer::on}, Way{"full", ShardOptimizer::off, 4},
        Way{"full", ShardOptimizer::off, 0, dist::WireFormat::bf16}}) {
    const auto classifier = classifier_with("no_dropout", way.method);
    TrainOptions options = short_run(way.method, 9);
    options.batch_size = 40;  // of which every rank has some
    options.bucket_bytes = 4096;
    options.shard_optimizer = way.sharding;
    options.virtual_ranks = way.virtual_ranks;
    options.reduce_format = way.format;
    const RunContext context = context_over(*together);
    FeatureStore features(options.cache_memory);
    FlatParameters parameters = flatten(*classifier);
    TrainingStep step(*classifier, parameters, options, examples, context, features);
    model::Parameter* read = parameters.parameters[parameters.parameters.size() / 2];
    const auto wait = read->before_read;
    read->before_read = [&] {
      if (wait) wait();
      take();
    };
    int failures = 0;
    for (int time = 1; time < 20; ++time) {
      fail_at(time);
      const std::string error = error_of([&] { step.run(time); });
      if (error.empty()) break;
      EXPECT_EQ(error, expected_error());
      ++failures;
    }
    EXPECT_GT(failures, 0) << way.method;
    fail_at(0);
    EXPECT_GT(step.run(20).loss, 0);
    if (way.sharding == ShardOptimizer::off) {
      EXPECT_TRUE(alike(parameters.gradients));
    }
  }
}

// The gradients of virtual ranks, and the copies that travel as bfloat16, of which one rank has none.
TEST_F(MemoryOfRanks, ThatRunsOutWhereAStepIsMadeIsTheErrorOfEveryRankAndTheNextIsMadeTogether) {
  for (const bool is_virtual : {true, false}) {
    const auto classifier = classifier_with("no_dropout", "full");
    TrainOptions options = short_run("full", 9);
    if (is_virtual) options.virtual_ranks = 4;
    if (!is_virtual) options.reduce_format = dist::WireFormat::bf16;
    const RunContext context = context_over(*together);
    FeatureStore features(options.cache_memory);
    FlatParameters parameters = flatten(*classifier);
    const std::string error = error_of([&] {
      std::optional<SmallMemory> small;
      if (rank() == ranks() - 1) small.emplace(4096);
      const TrainingStep step(*classifier, parameters, options, examples, context, features);
    });
    EXPECT_EQ(error, is_virtual || ranks() > 1 ? expected_error() : "");
    TrainingStep step(*classifier, parameters, options, examples, context, features);
    EXPECT_GT(step.run(0).loss, 0);
    EXPECT_TRUE(alike(parameters.gradients));
  }
}

TEST_F(MemoryOfRanks, ThatRunsOutWhileDevIsScoredIsTheErrorOfEveryRank) {
  const auto classifier = classifier_with("no_dropout", "full");
  const Examples scored = hungry(dev);
  fail_at(1);
  EXPECT_EQ(error_of([&] { score(*classifier, scored, context_over(*together)); }), expected_error());
  EXPECT_EQ(score(*classifier, scored, context_over(*together)).size(0), dev.size());
}

TEST_F(MemoryOfRanks, ThatRunsOutAnywhereInARunLeavesTheRanksTogether) {
  const Examples eaten = hungry(examples);
  const Examples scored = hungry(few);
  for (const char* method : {"head", "lora"}) {
    int failures = 0;
    for (int time = 1;; time += 7) {
      const auto classifier = classifier_with("no_dropout", method);
      const TrainOptions options = short_run(method, 12);
      FeatureStore features(options.cache_memory);
      fail_at(time);
      const std::string error =
          error_of([&] { train(*classifier, eaten, scored, options, {}, context_over(*together), features); });
      if (error.empty()) break;
      EXPECT_EQ(error, expected_error());
      ++failures;
    }
    EXPECT_GT(failures, 0) << method;
  }
}

TEST_F(MemoryOfRanks, ThatRunsOutInAGroupIsOfTheRankAsTheJobCountsIt) {
  // All but the first are a group.
  const auto group = together->split(rank() == 0 ? 0 : 1);
  RunContext context = context_over(*group);
  context.first_rank = rank() == 0 ? 0 : 1;
  fail_at(1);
  std::string error;
  try {
    compute_apart(context, [this] { take(); });
  } catch (const OutOfMemoryError& thrown) {
    error = thrown.what();
  }
  const bool is_lacking = ranks() == 1 || rank() > 0;
  EXPECT_EQ(error, !is_lacking          ? ""
                   : group->size() == 1 ? "out of memory"
                                        : fmt::format("rank {}: out of memory", ranks() - 1));
}

TEST_F(MemoryOfRanks, IsSaidInWholeCharactersHoweverMuchThereIsToSay) {
  if (ranks() == 1) return;  // says all of it
  for (const std::size_t begin : {0, 1}) {
    std::string lack(begin, 'x');
    for (int i = 0; i < 400; ++i) lack += "ä";
    EXPECT_THAT([&] { throw_out_of_memory(rank() == 0 ? lack : "", context_over(*together)); },
                testing::ThrowsMessage<OutOfMemoryError>(
                    testing::AllOf(testing::StartsWith("rank 0: "), testing::EndsWith("ää..."))));
  }
}

TEST_F(MemoryOfRanks, ErrorsOfOtherKindsAreTheRanksOwn) {
  EXPECT_THROW(compute_apart(context_over(*alone), [] { throw std::runtime_error("something else"); }),
               std::runtime_error);
}

}  // namespace
}  // namespace dtrain::train
