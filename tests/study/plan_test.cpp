#include "study/plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>

#include "base/error.h"
#include "peft/registry.h"
#include "study/plan/trial.h"
#include "tests/study/study_case.h"

namespace dtrain::study {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(MethodPlans, TakeEachMethodsOwnGridUnlessOneIsGiven) {
  const auto own = method_plans({"full", "lora:r=4"}, {});
  ASSERT_EQ(own.size(), 2U);
  EXPECT_EQ(own[0].learning_rates, peft::method_kind("full").learning_rates);
  EXPECT_EQ(own[1].learning_rates, peft::method_kind("lora").learning_rates);
  EXPECT_EQ(own[1].method.text(), "lora:r=4");
  EXPECT_THAT(method_plans({"head"}, {0.1, 0.01, 0.1})[0].learning_rates, ElementsAre(0.01, 0.1));
}

TEST(MethodPlans, RefuseWhatIsUnknownOrNamedTwice) {
  EXPECT_THAT(refusal([] { method_plans({"full", "lroa"}, {}); }), HasSubstr("did you mean 'lora'"));
  EXPECT_THAT(refusal([] { method_plans({"lora:rank=4"}, {}); }), HasSubstr("rank"));
  EXPECT_THAT(refusal([] { method_plans({"head", "head"}, {}); }), HasSubstr("'head' is named twice"));
  EXPECT_THAT(refusal([] { method_plans({}, {}); }), HasSubstr("at least one"));
}

TEST(Samples, AreSortedAndHeldAgainstTheDataAndTheRanks) {
  EXPECT_THAT(checked_samples({1000, 100, 100}, 5000, 2), ElementsAre(100, 1000));
  EXPECT_THAT(refusal([] {
                checked_samples({100, 20000}, 5000, 2);
              }),
              HasSubstr("--samples 20000: more than the 5,000 training examples"));
  EXPECT_THAT(refusal([] { checked_samples({4}, 5000, 8); }), HasSubstr("8 ranks a trial, but --samples 4"));
}

TEST(DevExamples, StaySmallWhereTrainingDataIsSmall) {
  EXPECT_EQ(dev_examples(100, 8000), 500);
  EXPECT_EQ(dev_examples(1000, 8000), 500);
  EXPECT_EQ(dev_examples(10000, 8000), 5000);
  EXPECT_EQ(dev_examples(100000, 8000), 8000);
  EXPECT_EQ(dev_examples(100, 60), 60);
}

TEST(Trials, JudgeWithOtherSeedsThanTheyChooseBy) {
  const StudyPlan plan = small_plan({"full", "head"}, {100});
  const auto searched = search(plan, plan.methods[0], 100, {}).ready;
  ASSERT_EQ(searched.size(), 3U);
  std::set<std::uint64_t> search_seeds;
  for (const Trial& trial : searched) search_seeds.insert(trial.seed);
  EXPECT_THAT(search_seeds, ElementsAre(plan.search_seed));
  for (const Trial& trial : result_trials(plan, plan.methods[0], 100, 0.001))
    EXPECT_EQ(search_seeds.count(trial.seed), 0U);
}

TEST(Trials, DrawTheSameExamplesForEveryMethodAndOthersForEverySeed) {
  StudyPlan plan = small_plan({"full"}, {100});
  plan.search_seed = 10;
  plan.subset_seed = 5;
  EXPECT_EQ(plan.subset_seed_of(10), 5U);
  EXPECT_EQ(plan.subset_seed_of(12), 7U);
}

TEST(Trials, HaveKeysOfTheirOwn) {
  const StudyPlan plan = small_plan({"full", "head"}, {100, 1000});
  std::set<std::string> keys;
  std::size_t count = 0;
  for (const auto& method : plan.methods) {
    for (const std::int64_t samples : plan.samples) {
      auto trials = search(plan, method, samples, {}).ready;
      const auto results = result_trials(plan, method, samples, 0.003);
      trials.insert(trials.end(), results.begin(), results.end());
      for (const Trial& trial : trials) keys.insert(trial.key());
      count += trials.size();
    }
  }
  EXPECT_EQ(keys.size(), count);
}

TEST(Plan, ComesBackFromJson) {
  StudyPlan plan = small_plan({"full", "lora:r=4"}, {100, 1000});
  plan.search_seed = 7;
  plan.metric = "balanced_accuracy";
  plan.margin = 0.02;
  plan.sets[0].labels = {0, 3, 1};
  const StudyPlan back = plan_from_json(nlohmann::json::parse(plan_json(plan).dump()));
  EXPECT_EQ(plan_json(back), plan_json(plan));
  EXPECT_EQ(back.methods[1].method.text(), "lora:r=4");
  EXPECT_EQ(back.identity, plan.identity);
  EXPECT_EQ(back.sets[0].labels, plan.sets[0].labels);
  EXPECT_EQ(back.margin, 0.02);
  auto older = plan_json(plan);
  older.erase("metric");
  older.erase("margin");
  EXPECT_EQ(plan_from_json(older).metric, "accuracy");
}

TEST(Trial, ComesBackFromJsonToTheLastBit) {
  const StudyPlan plan = small_plan({"full"}, {100});
  TrialOutcome outcome = outcome_of(613, 377, 1.0 / 3);
  outcome.scores["test"][998] = 1;
  outcome.scores["ood.web"][17] = 1.0 / 3;  // of an objective whose scores are no bits
  outcome.predicted["test"] = {0, 44, 7, 15, 16};
  outcome.predicted["ood.web"] = {0, 3, 15, 1};  // a digit each
  outcome.values["test"]["log_loss"] = {0.5F, 0.1F, 103.25F, 0, std::numeric_limits<float>::infinity()};
  outcome.metrics["test"]["matthews"] = std::nan("");
  const Trial trial = result_trials(plan, plan.methods[0], 100, 0.1 + 0.2)[0];
  const auto [same, back] = trial_from_json(nlohmann::json::parse(trial_json(trial, outcome).dump()));
  EXPECT_EQ(same.key(), trial.key());
  EXPECT_EQ(same.learning_rate, trial.learning_rate);
  EXPECT_EQ(back.metric("dev", "log_loss"), 1.0 / 3);
  EXPECT_TRUE(std::isnan(back.metric("test", "matthews")));
  EXPECT_EQ(back.scores, outcome.scores);
  EXPECT_EQ(back.predicted, outcome.predicted);
  EXPECT_EQ(trial_json(trial, outcome)["predicted"]["test"]["hex"], "002c070f10");
  EXPECT_EQ(trial_json(trial, outcome)["predicted"]["ood.web"]["hex"], "03f1");
  EXPECT_EQ(back.values, outcome.values);
  EXPECT_EQ(trial_json(trial, outcome)["values"]["test"]["log_loss"], "3f0000003dcccccd42ce8000000000007f800000");
  EXPECT_EQ(back.cost.stored_bytes, 5000);
  auto older = trial_json(trial, outcome);
  older.erase("predicted");
  older.erase("values");
  EXPECT_TRUE(trial_from_json(older).second.predicted.empty());
  EXPECT_TRUE(trial_from_json(older).second.values.empty());
  older["started"] = 30;
  older.erase("spent");
  EXPECT_EQ(trial_from_json(older).second.spent, 30 + outcome.seconds);
  for (const nlohmann::json& damaged :
       {nlohmann::json{{"digits", 0}, {"hex", ""}}, {{"digits", 2}, {"hex", "012"}}, {{"digits", 1}, {"hex", "x"}}}) {
    older["predicted"] = {{"test", damaged}};
    EXPECT_THROW(trial_from_json(older), std::invalid_argument) << damaged;
  }
  older.erase("predicted");
  for (const char* damaged : {"3f00000", "3f00000x"}) {
    older["values"]["test"]["log_loss"] = damaged;
    EXPECT_THROW(trial_from_json(older), std::invalid_argument) << damaged;
  }
}

}  // namespace
}  // namespace dtrain::study
