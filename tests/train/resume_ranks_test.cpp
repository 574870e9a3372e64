// What one rank of a node reads of a checkpoint for all of it. The nodes are made up: their ranks are on this machine.

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "base/error.h"
#include "tests/base/temporary_directory.h"
#include "tests/train/over_ranks.h"
#include "train/checkpoint.h"
#include "train/resume.h"

namespace dtrain::train {
namespace {

namespace fs = std::filesystem;

class CheckpointOfNodes : public OverRanks {
 protected:
  // What a rank has in its folder may be mapped by others.
  void TearDown() override { together->barrier(); }

  /// The lowest rank on this rank's node, of so many.
  int node_of(int nodes) const { return rank() / (ranks() / nodes) * (ranks() / nodes); }

  Checkpoint at_step(std::int64_t step) const {
    Checkpoint checkpoint;
    checkpoint.step = step;
    checkpoint.values = at::arange(1000, at::kFloat) + static_cast<double>(step);
    checkpoint.first_moments = checkpoint.values * 2;
    checkpoint.second_moments = checkpoint.values * 3;
    checkpoint.best_values = checkpoint.values * 4;
    checkpoint.best_step = step - 1;
    checkpoint.identity = identity;
    return checkpoint;
  }

  /// Of a folder of this rank alone, as it goes on with this seed.
  std::optional<Checkpoint> resumed(int node, const char* seed = "3") const {
    return checkpoint_to_resume(folder.path(), {{"seed", seed}, {"reduce precision", "fp32"}}, context_over(*together),
                                node);
  }
  template <typename Call>
  static std::string error_of(const Call& call) {
    try {
      call();
    } catch (const Error& error) {
      return fmt::format("{}: {}", error.exit_code(), error.what());
    }
    return "no error";
  }

  const std::map<std::string, std::string> identity = {{"seed", "3"}, {"reduce precision", "fp32"}};
  const TemporaryDirectory folder;
};

TEST_F(CheckpointOfNodes, IsReadByOneRankOfEachAndTheSameForAll) {
  for (const int nodes : {1, 2}) {
    if (nodes > ranks()) continue;
    const int node = node_of(nodes);
    EXPECT_FALSE(resumed(node)) << "none is there yet";
    const auto written = at_step(7 + nodes);
    if (rank() == node) write_checkpoint(folder.path(), written);
    const auto read = resumed(node);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->step, 7 + nodes);
    EXPECT_EQ(read->identity, identity);
    EXPECT_TRUE(at::equal(read->values, written.values));
    EXPECT_TRUE(at::equal(read->first_moments, written.first_moments));
    EXPECT_TRUE(at::equal(read->second_moments, written.second_moments));
    EXPECT_TRUE(at::equal(read->best_values, written.best_values));
    together->barrier();
    fs::remove_all(folder.path() / fmt::format("step-{}", 7 + nodes));
  }
}

TEST_F(CheckpointOfNodes, ThatSeeAnotherOneIsRefusedOnEveryRank) {
  if (ranks() == 1) GTEST_SKIP() << "not run: one rank";
  const int node = node_of(2);
  if (rank() == node) write_checkpoint(folder.path(), at_step(rank() == 0 ? 5 : 4));
  EXPECT_THAT(error_of([&] { resumed(node); }),
              testing::AllOf(testing::StartsWith("3: "),
                             testing::HasSubstr(fmt::format("rank 0 finds a checkpoint of step 5 there, rank {} of "
                                                            "step 4",
                                                            ranks() / 2))));
}

TEST_F(CheckpointOfNodes, OfAnotherRunIsRefusedOnEveryRank) {
  if (rank() == 0) write_checkpoint(folder.path(), at_step(5));
  EXPECT_THAT(error_of([&] { resumed(0, "4"); }),
              testing::AllOf(testing::StartsWith("2: "), testing::HasSubstr("seed was '3' and is now '4'")));
}

}  // namespace
}  // namespace dtrain::train
