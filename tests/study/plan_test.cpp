#include "study/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>

#include "base/error.h"
#include "peft/registry.h"
#include "study/forecast.h"
#include "study/trial.h"
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
  EXPECT_THAT(refusal([] { checked_samples({4}, 5000, 8); }), HasSubstr("8 ranks, but --samples 4"));
}

TEST(DevExamples, StaySmallWhereTrainingDataIsSmall) {
  EXPECT_EQ(dev_examples(100, 8000), 500);
  EXPECT_EQ(dev_examples(1000, 8000), 1000);
  EXPECT_EQ(dev_examples(100000, 8000), 8000);
  EXPECT_EQ(dev_examples(100, 60), 60);
}

TEST(Trials, JudgeWithOtherSeedsThanTheyChooseBy) {
  const StudyPlan plan = small_plan({"full", "head"}, {100});
  const auto search = search_trials(plan, plan.methods[0], 100);
  ASSERT_EQ(search.size(), 3U);
  std::set<std::uint64_t> search_seeds;
  for (const Trial& trial : search) search_seeds.insert(trial.seed);
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
      auto trials = search_trials(plan, method, samples);
      const auto results = result_trials(plan, method, samples, 0.003);
      trials.insert(trials.end(), results.begin(), results.end());
      for (const Trial& trial : trials) keys.insert(trial.key());
      count += trials.size();
    }
  }
  EXPECT_EQ(keys.size(), count);
}

TEST(Trials, NeedNoSearchForOneLearningRate) {
  StudyPlan plan = small_plan({"full"}, {100});
  plan.methods[0].learning_rates = {0.01};
  EXPECT_TRUE(search_trials(plan, plan.methods[0], 100).empty());
  EXPECT_EQ(chosen_learning_rate(plan, plan.methods[0], 100, {}), 0.01);
}

FinishedTrials search_with_losses(const StudyPlan& plan, const std::vector<double>& losses) {
  FinishedTrials finished;
  std::size_t next = 0;
  for (const Trial& trial : search_trials(plan, plan.methods[0], 100)) {
    TrialOutcome outcome = outcome_of(500, 500, losses[next]);
    if (losses[next] < 0) {
      outcome = {};
      outcome.failure = "the loss of step 3 is nan";
    }
    finish(finished, trial, outcome);
    ++next;
  }
  return finished;
}

TEST(LearningRate, IsTheBestOnDev) {
  const StudyPlan plan = small_plan({"full"}, {100});
  const auto chosen = [&](const std::vector<double>& losses) {
    return chosen_learning_rate(plan, plan.methods[0], 100, search_with_losses(plan, losses));
  };
  EXPECT_EQ(chosen({0.5, 0.4, 0.6}), 0.003);
  EXPECT_EQ(chosen({0.5, 0.5, 0.6}), 0.001) << "the smaller of two that are equal";
  EXPECT_EQ(chosen({-1, -1, 0.9}), 0.01) << "those that failed do not count";
  EXPECT_EQ(chosen({-1, -1, -1}), std::nullopt);
}

TEST(LearningRate, FollowsAMetricThatIsBetterLarge) {
  StudyPlan plan = small_plan({"full"}, {100});
  plan.select_metric = "accuracy";
  FinishedTrials finished;
  int right = 400;
  for (const Trial& trial : search_trials(plan, plan.methods[0], 100))
    finish(finished, trial, outcome_of(right += 100, 0));
  EXPECT_EQ(chosen_learning_rate(plan, plan.methods[0], 100, finished), 0.01);
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
  outcome.metrics["test"]["matthews"] = std::nan("");
  const Trial trial = result_trials(plan, plan.methods[0], 100, 0.1 + 0.2)[0];
  const auto [same, back] = trial_from_json(nlohmann::json::parse(trial_json(trial, outcome).dump()));
  EXPECT_EQ(same.key(), trial.key());
  EXPECT_EQ(same.learning_rate, trial.learning_rate);
  EXPECT_EQ(back.metric("dev", "log_loss"), 1.0 / 3);
  EXPECT_TRUE(std::isnan(back.metric("test", "matthews")));
  EXPECT_EQ(back.scores, outcome.scores);
  EXPECT_EQ(back.cost.stored_bytes, 5000);
}

MethodForecast forecast_of(const std::string& method, double step, double prefix, double score) {
  MethodForecast forecast{method, {}, 0};
  forecast.estimate.step_seconds = step;
  forecast.estimate.prefix_example_seconds = prefix;
  forecast.estimate.score_example_seconds = score;
  return forecast;
}

TEST(Forecast, CountsStepsAndEvaluations) {
  // 150 steps over 100 examples in batches of 32: 38 epochs, ten evaluations.
  const TrialSizes sizes{8000, 3000, 32, {{100, 150}}, {{"full", 3}}, 2};
  const Trial search{Trial::Phase::search, "full", 100, 0.1, 0};
  const Trial result{Trial::Phase::result, "full", 100, 0.1, 1};
  const auto plain = forecast_of("full", 0.1, 0, 0.001);
  EXPECT_NEAR(trial_seconds(plain, search, sizes), 15 + 10 * 500 * 0.001, 1e-9);
  EXPECT_NEAR(trial_seconds(plain, result, sizes), 15 + (10 * 500 + 3000) * 0.001, 1e-9);
  const auto cached = forecast_of("full", 0.001, 0.002, 0.001);
  EXPECT_NEAR(trial_seconds(cached, search, sizes), 0.15 + (0.2 + 500 * 0.001) / 3, 1e-9);
  EXPECT_NEAR(trial_seconds(cached, result, sizes), 0.15 + 0.2 + 3000 * 0.001 / 2, 1e-9);
}

TEST(TimeLeft, LearnsFromWhatTrialsTook) {
  const TrialSizes sizes{8000, 0, 32, {{100, 150}}, {{"full", 3}, {"head", 3}}, 2};
  TimeLeft left({forecast_of("full", 0.1, 0, 0), forecast_of("head", 0.01, 0, 0)}, sizes);
  const Trial full{Trial::Phase::search, "full", 100, 0.1, 0};
  const Trial head{Trial::Phase::search, "head", 100, 0.1, 0};
  EXPECT_NEAR(left.seconds(full), 15, 1e-9);
  left.took(full, 30);
  EXPECT_NEAR(left.seconds(full), 30, 1e-9);
  EXPECT_NEAR(left.seconds(head), 1.5, 1e-9) << "another method's trials say nothing about it";
}

}  // namespace
}  // namespace dtrain::study
