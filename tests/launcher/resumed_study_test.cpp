#include "launcher/resumed_study.h"

#include <gtest/gtest.h>

#include <optional>

namespace dtrain::launcher {
namespace {

TEST(RanksPerTrial, AreThoseThatAStudyBeganWith) {
  EXPECT_EQ(inherited_ranks_per_trial(2, 4, false), 2);
  EXPECT_EQ(inherited_ranks_per_trial(1, 4, false), 1);
  EXPECT_EQ(inherited_ranks_per_trial(0, 4, false), std::nullopt) << "it begins now";
  EXPECT_EQ(inherited_ranks_per_trial(2, 3, false), std::nullopt) << "they cannot be dealt so";
}

TEST(RanksPerTrial, AreNoGroupWhereRanksShareAGpu) {
  EXPECT_EQ(inherited_ranks_per_trial(2, 4, true), std::nullopt) << "they would train without exchange";
  EXPECT_EQ(inherited_ranks_per_trial(1, 4, true), 1);
}

TEST(PlanToGoOnWith, KeepsWhatWasGivenUpUnlessItIsFittedAnew) {
  study::StudyPlan asked;
  asked.samples = {100, 1000};
  asked.result_seeds = {1, 2, 3};
  study::StudyPlan before = asked;
  before.drop_seed(100, 3);
  before.drop_count(1000);
  before.changes = {"no more trials of 1,000 samples"};
  EXPECT_EQ(study::plan_json(plan_to_go_on_with(asked, before)), study::plan_json(before));
  const study::StudyPlan anew = plan_to_go_on_with(asked, std::nullopt);
  EXPECT_TRUE(anew.dropped_seeds.empty());
  EXPECT_TRUE(anew.changes.empty());
}

}  // namespace
}  // namespace dtrain::launcher
