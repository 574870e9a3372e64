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

TEST(FactsOfAllRuns, HoldTheFirstForecastAsLongAsThePlanIsTheOneItWasOf) {
  study::StudyPlan plan;
  plan.samples = {100, 1000};
  plan.result_seeds = {1, 2, 3};
  study::RunFacts earlier;
  earlier.groups = 4;
  earlier.forecast_seconds = 500;
  study::RunFacts now = earlier;
  now.forecast_seconds = 200;
  study::StudyPlan shortened = plan;
  shortened.drop_seed(1000, 3);
  shortened.more_seeds[100]["full"] = {4};
  shortened.metric = "macro_f1";
  EXPECT_EQ(facts_of_all_runs(now, plan, earlier, shortened).forecast_seconds, 500);
  EXPECT_EQ(facts_of_all_runs(now, plan, earlier, plan).idle_share, 0);
  plan.result_seeds.push_back(4);
  EXPECT_EQ(facts_of_all_runs(now, plan, earlier, shortened).forecast_seconds, std::nullopt);
}

TEST(FactsOfAllRuns, KnowNoIdleTimeOfDifferentNumbersOfRanks) {
  study::RunFacts earlier;
  earlier.groups = 4;
  study::RunFacts now = earlier;
  now.groups = 2;
  EXPECT_EQ(facts_of_all_runs(now, {}, earlier, {}).idle_share, std::nullopt);
  now.ranks_per_trial = 2;
  EXPECT_EQ(facts_of_all_runs(now, {}, earlier, {}).idle_share, 0);
  earlier.idle_share.reset();
  EXPECT_EQ(facts_of_all_runs(now, {}, earlier, {}).idle_share, std::nullopt) << "nor when it goes on a second time";
}

}  // namespace
}  // namespace dtrain::launcher
