#include "study/plan/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <string>

#include "study/plan/budget.h"
#include "study/plan/forecast.h"
#include "tests/study/study_case.h"

namespace dtrain::study {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

// full takes ten times as long as head.
double seconds_of(const Trial& trial) {
  return (trial.method == "full" ? 10 : 1) * trial.length * static_cast<double>(trial.samples) / 100;
}

TrialOutcome any_outcome(const Trial& trial) { return outcome_of(500, 500, trial.learning_rate == 0.003 ? 0.4 : 0.6); }

TEST(Schedule, BeginsWithWhatTheMostWaitsFor) {
  const StudyPlan plan = small_plan({"head", "full"}, {100, 1000});
  Schedule schedule(plan, {});
  const auto first = schedule.next(seconds_of);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->method, "full");
  EXPECT_EQ(first->phase, Trial::Phase::search);
}

TEST(Schedule, HandsOutEachTrialOnceAndHoldsBackWhatWaits) {
  const StudyPlan plan = small_plan({"full"}, {100});
  Schedule schedule(plan, {});
  std::vector<Trial> running;
  while (const auto trial = schedule.next(seconds_of)) running.push_back(*trial);
  EXPECT_THAT(running, SizeIs(3)) << "the results wait for the search";
  EXPECT_FALSE(schedule.is_done());
  for (const Trial& trial : running) schedule.finish(trial, any_outcome(trial));
  std::set<std::string> results;
  while (const auto trial = schedule.next(seconds_of)) {
    EXPECT_EQ(trial->learning_rate, 0.003);
    results.insert(trial->key());
    schedule.finish(*trial, any_outcome(*trial));
  }
  EXPECT_THAT(results, SizeIs(3));
  EXPECT_TRUE(schedule.is_done());
  EXPECT_EQ(schedule.ended(), 6U);
  EXPECT_EQ(schedule.expected(), 6U);
}

TEST(Schedule, RunsWhatWasGivenUpAgain) {
  const StudyPlan plan = small_plan({"full"}, {100}, 1);
  Schedule schedule(plan, {});
  const auto first = schedule.next(seconds_of);
  schedule.give_up(*first);
  EXPECT_EQ(schedule.next(seconds_of)->key(), first->key());
}

TEST(Schedule, GivesAGroupTheMethodItHadOfEqualTrials) {
  StudyPlan plan = small_plan({"head", "norm"}, {100});
  Schedule schedule(plan, {});
  EXPECT_EQ(schedule.next(seconds_of, "norm")->method, "norm");
  EXPECT_EQ(schedule.next(seconds_of, "head")->method, "head");
}

TEST(Schedule, ForecastsNoRetreatWhateverMetricChoosesRates) {
  StudyPlan plan = small_plan({"head"}, {100});
  const double by_loss = simulate(plan, Schedule(plan, {}), seconds_of, 1).seconds;
  plan.select_metric = "accuracy";
  EXPECT_EQ(simulate(plan, Schedule(plan, {}), seconds_of, 1).seconds, by_loss);
  // What the search really found is better than nothing.
  FinishedTrials finished;
  for (const Trial& trial : search(plan, plan.methods[0], 100, finished).ready)
    finish(finished, trial, outcome_of(800, 0));
  const auto results = simulate(plan, Schedule(plan, finished), seconds_of, 1);
  double expected = 0;
  for (const Trial& trial : result_trials(plan, plan.methods[0], 100, 0.001)) expected += seconds_of(trial);
  EXPECT_NEAR(results.seconds, expected, 1e-9);
}

TEST(Schedule, DropsSeedsAndCountsThatHaveNotBegun) {
  StudyPlan plan = small_plan({"head"}, {100, 1000, 10'000});
  Schedule schedule(plan, {});
  const std::size_t all = schedule.expected();
  EXPECT_EQ(all, 18U);
  plan.drop_seed(100, 3);
  schedule.plan_changed();
  EXPECT_EQ(schedule.expected(), all - 1);
  plan.drop_count(1000);
  schedule.plan_changed();
  EXPECT_TRUE(plan.is_dropped(10'000)) << "it would start from the optimum of a count that is not there";
  EXPECT_FALSE(plan.is_dropped(100)) << "it has lost one seed";
  EXPECT_EQ(schedule.expected(), 5U);
  EXPECT_THROW(plan.drop_count(100), std::invalid_argument);
  EXPECT_THROW(plan.drop_seed(100, 1), std::invalid_argument);
  std::size_t ran = 0;
  while (const auto trial = schedule.next(seconds_of)) {
    schedule.finish(*trial, any_outcome(*trial));
    ++ran;
  }
  EXPECT_EQ(ran, 5U);
}

TEST(Simulation, OfOneGroupIsTheSum) {
  const StudyPlan plan = small_plan({"full", "head"}, {100});
  const auto one = simulate(plan, Schedule(plan, {}), seconds_of, 1);
  EXPECT_NEAR(one.seconds, 6 * 10 + 6 * 1, 1e-9);
  EXPECT_NEAR(one.idle_share, 0, 1e-9);
}

TEST(Simulation, IsAsShortAsTheWorkAndTheLongestChainLetIt) {
  const StudyPlan plan = small_plan({"full", "head", "lora"}, {100, 1000}, 3);
  const double work = 6 * 110 + 12 * 11;
  const double chain = 2 * 100;  // full's search and a result at 1,000
  for (const int groups : {2, 4, 8}) {
    const auto found = simulate(plan, Schedule(plan, {}), seconds_of, groups);
    EXPECT_GE(found.seconds, std::max(work / groups, chain)) << groups;
    // Of any order in which no group waits while a trial is ready (Graham, 1966).
    EXPECT_LE(found.seconds, work / groups + chain * (1 - 1.0 / groups)) << groups;
    EXPECT_NEAR(found.idle_share, 1 - work / (found.seconds * groups), 1e-9) << groups;
    if (groups == 2) {
      EXPECT_LT(found.idle_share, 0.1);
    }
  }
}

MethodForecast forecast_of(const std::string& method, double step, double prefix, double score) {
  MethodForecast forecast{method, {}, {}, 0};
  forecast.beside.step_seconds = step;
  forecast.beside.prefix_example_seconds = prefix;
  forecast.beside.score_example_seconds = score;
  forecast.alone = forecast.beside;
  forecast.alone.step_seconds = step / 2;
  forecast.alone.trainable_parameters = 1000;
  return forecast;
}

TEST(Forecast, CountsStepsAndEvaluations) {
  // 150 steps over 100 examples in batches of 32, 25 on average: 38 epochs, five evaluations.
  const StudyPlan plan = small_plan({"full"}, {100});
  const TrialSizes sizes{8000, 3000, 32, 2};
  const Trial search{Trial::Phase::search, "full", 100, 0.1, 0};
  const Trial result{Trial::Phase::result, "full", 100, 0.1, 1};
  Trial shorter = search;
  shorter.length = 0.5;
  const auto plain = forecast_of("full", 0.1, 0, 0.001);
  EXPECT_NEAR(trial_seconds(plan, plain, search, sizes), 15 * 25 / 32.0 + 5 * 500 * 0.001, 1e-9);
  EXPECT_NEAR(trial_seconds(plan, plain, shorter, sizes), 7.5 * 25 / 32.0 + 2 * 500 * 0.001, 1e-9);
  EXPECT_NEAR(trial_seconds(plan, plain, result, sizes), 15 * 25 / 32.0 + (5 * 500 + 3000) * 0.001, 1e-9);
  const auto cached = forecast_of("full", 0.001, 0.002, 0.001);
  EXPECT_NEAR(trial_seconds(plan, cached, search, sizes), 0.15 * 25 / 32.0 + (0.2 + 500 * 0.001) / 3, 1e-9);
  EXPECT_NEAR(trial_seconds(plan, cached, result, sizes), 0.15 * 25 / 32.0 + 0.2 + 3000 * 0.001 / 2, 1e-9);
}

TEST(Costs, AreThoseOfAMethodByItself) {
  const StudyPlan plan = small_plan({"full"}, {100});
  train::TrainOptions training;
  training.batch_size = 32;
  MethodForecast forecast = forecast_of("full", 0.1, 0, 0.001);
  forecast.ranks = 2;
  forecast.threads_per_rank = 4;
  const auto costs = method_costs(plan, forecast, training);
  EXPECT_EQ(costs.at(100).ranks, 2);
  EXPECT_EQ(costs.at(100).threads_per_rank, 4);
  EXPECT_NEAR(costs.at(100).train_seconds, 150 * 0.05 * 25 / 32, 1e-9);
  EXPECT_NEAR(costs.at(100).samples_per_second, 32 / 0.05, 1e-9);
  EXPECT_EQ(costs.at(100).allreduce_bytes_per_step, 4000);
  training.reduce_format = dist::WireFormat::bf16;
  EXPECT_EQ(method_costs(plan, forecast_of("full", 0.1, 0, 0.001), training).at(100).allreduce_bytes_per_step, 2000);
}

TEST(TimeLeft, LearnsFromWhatTrialsTook) {
  const StudyPlan plan = small_plan({"full", "head"}, {100});
  TimeLeft left(plan, {forecast_of("full", 0.1, 0, 0), forecast_of("head", 0.01, 0, 0)}, {8000, 0, 32, 2});
  const Trial full{Trial::Phase::search, "full", 100, 0.1, 0};
  const Trial head{Trial::Phase::search, "head", 100, 0.1, 0};
  EXPECT_NEAR(left.seconds(full), 15 * 25 / 32.0, 1e-9);
  left.took(full, 30);
  EXPECT_NEAR(left.seconds(full), 30, 1e-9);
  EXPECT_NEAR(left.seconds(head), 1.5 * 25 / 32.0, 1e-9) << "another method's trials say nothing about it";
}

class Budget : public testing::Test {
 protected:
  FittedPlan fit(double seconds, int groups = 2) const {
    StudyPlan plan = small_plan({}, {});
    plan.methods = method_plans({"full", "head", "lora"}, {});
    return fit_plan(plan, freedom_, forecasts_, {8000, 3000, 32, 3}, groups, seconds);
  }

  PlanFreedom freedom_{true, true, true, 100'000,
                       [](std::int64_t samples) { return std::max<std::int64_t>(100, 3 * samples / 32); }};
  std::vector<MethodForecast> forecasts_ = {forecast_of("full", 0.4, 0, 0.005),
                                            forecast_of("head", 0.001, 0.005, 0.005),
                                            forecast_of("lora", 0.25, 0, 0.005)};
};

TEST_F(Budget, BuysCountsThenSeedsThenTheSearch) {
  double last = 0;
  std::size_t counts = 0;
  for (const double minutes : {8, 10, 20, 60, 360, 2880, 10'000}) {
    const FittedPlan fitted = fit(60 * minutes);
    EXPECT_TRUE(fitted.fits) << minutes;
    EXPECT_LE(fitted.simulation.seconds, 60 * minutes * (1 - kReserve));
    EXPECT_GE(fitted.plan.samples.size(), counts) << "more time never buys fewer counts";
    if (fitted.plan.search != SearchDepth::quick) {
      EXPECT_THAT(fitted.plan.result_seeds, SizeIs(kMostSeeds));
    }
    counts = fitted.plan.samples.size();
    last = fitted.simulation.seconds;
  }
  EXPECT_GT(last, 0);
  const FittedPlan most = fit(1e9);
  EXPECT_THAT(most.plan.samples, ElementsAre(100, 1000, 10'000, 100'000));
  EXPECT_EQ(most.plan.search, SearchDepth::fine);
}

TEST_F(Budget, SaysWhereEvenTheSmallestPlanIsTooLong) {
  const FittedPlan fitted = fit(1);
  EXPECT_FALSE(fitted.fits);
  EXPECT_THAT(fitted.plan.samples, ElementsAre(100));
  EXPECT_THAT(fitted.plan.result_seeds, SizeIs(2));
  EXPECT_GT(fitted.simulation.seconds, 1);
}

TEST_F(Budget, KeepsWhatWasGiven) {
  freedom_.samples = false;
  freedom_.seeds = false;
  StudyPlan plan = small_plan({}, {300}, 4);
  plan.methods = method_plans({"head"}, {});
  const FittedPlan fitted = fit_plan(plan, freedom_, forecasts_, {8000, 3000, 32, 3}, 1, 1e9);
  EXPECT_THAT(fitted.plan.samples, ElementsAre(300));
  EXPECT_THAT(fitted.plan.result_seeds, SizeIs(4));
  EXPECT_EQ(fitted.plan.search, SearchDepth::fine);
}

TEST_F(Budget, ScoresAllExamplesWhereTimeIsLeftForThat) {
  freedom_.many_sets = {{"test", 100'000, 0.5, {}}};
  freedom_.many_identity = {{"test data", "whole"}};
  const FittedPlan without = fit(3600);
  EXPECT_FALSE(without.plan.scores_many) << "100,000 examples of .005 s for each result do not fit";
  EXPECT_NE(examples_of(without.plan.sets), 100'000);
  const FittedPlan with = fit(1e9);
  EXPECT_TRUE(with.plan.scores_many);
  EXPECT_EQ(examples_of(with.plan.sets), 100'000);
  EXPECT_EQ(with.plan.identity.at("test data"), "whole");
  freedom_.many_sets.clear();
  EXPECT_FALSE(fit(1e9).plan.scores_many) << "the number was given";
  EXPECT_GT(with.simulation.seconds, fit(1e9).simulation.seconds);
}

TEST_F(Budget, EndsWithAllThereIs) {
  freedom_.available = 1300;
  EXPECT_THAT(fit(1e9).plan.samples, ElementsAre(100, 1000)) << "1,300 says hardly more than 1,000";
  freedom_.available = 3000;
  EXPECT_THAT(fit(1e9).plan.samples, ElementsAre(100, 1000, 3000));
  freedom_.available = 60;
  EXPECT_THAT(fit(1e9).plan.samples, ElementsAre(60));
}

TEST_F(Budget, UsesMoreGroupsForMoreSeedsAndCountsBetween) {
  const FittedPlan of_two = fit(600, 2);
  EXPECT_THAT(of_two.plan.samples, ElementsAre(100, 1000));
  EXPECT_THAT(of_two.plan.result_seeds, SizeIs(3));
  EXPECT_EQ(of_two.plan.search, SearchDepth::quick);
  EXPECT_LT(of_two.simulation.idle_share, 0.05);
  // 10,000 do not fit, however many groups: the search and a result there take longer one after the other.
  const FittedPlan of_eight = fit(600, 8);
  EXPECT_THAT(of_eight.plan.samples, ElementsAre(100, 300, 1000, 3000));
  EXPECT_THAT(of_eight.plan.result_seeds, SizeIs(5));
  EXPECT_EQ(of_eight.plan.search, SearchDepth::quick);
  EXPECT_LT(of_eight.simulation.idle_share, 0.10);
}

TEST_F(Budget, HasNoCountsBetweenBeforeTheSeedsNorBesideAllTenfoldOnes) {
  freedom_.available = 10'000;
  for (const double minutes : {10, 15, 20, 40, 60, 360}) {
    const FittedPlan fitted = fit(60 * minutes);
    const std::vector<std::int64_t>& counts = fitted.plan.samples;
    const auto is_between = [](std::int64_t count) { return count == 300 || count == 3000; };
    if (std::none_of(counts.begin(), counts.end(), is_between)) continue;
    EXPECT_THAT(fitted.plan.result_seeds, SizeIs(kMostSeeds)) << minutes;
    EXPECT_LT(counts.back(), 10'000) << minutes;
  }
  EXPECT_THAT(fit(60 * 20).plan.samples, ElementsAre(100, 300, 1000)) << "3,000 do not fit";
  EXPECT_THAT(fit(60 * 360).plan.samples, ElementsAre(100, 1000, 10'000));
}

// docs/study.md says where it is not so.
TEST_F(Budget, KeepsEightGroupsAtWorkForNineTenthsOfTheTime) {
  const auto forecasts = forecasts_;
  for (const double factor : {0.5, 0.75, 1.0, 1.5, 2.0}) {
    forecasts_ = forecasts;
    for (MethodForecast& forecast : forecasts_) {
      for (double train::Estimate::*part : {&train::Estimate::step_seconds, &train::Estimate::prefix_example_seconds,
                                            &train::Estimate::score_example_seconds})
        forecast.beside.*part *= factor;
    }
    EXPECT_LT(fit(600, 8).simulation.idle_share, 0.10) << factor;
  }
}

TEST_F(Budget, UsesMoreGroupsForMoreCountsWhereOneFillsTheTimeOfTwo) {
  for (MethodForecast& forecast : forecasts_) {
    for (double train::Estimate::*part : {&train::Estimate::step_seconds, &train::Estimate::prefix_example_seconds,
                                          &train::Estimate::score_example_seconds})
      forecast.beside.*part *= 2;
  }
  const FittedPlan of_two = fit(600, 2);
  EXPECT_THAT(of_two.plan.samples, ElementsAre(1000));
  EXPECT_THAT(of_two.plan.result_seeds, SizeIs(3));
  EXPECT_LT(of_two.simulation.idle_share, 0.05);
  const FittedPlan of_eight = fit(600, 8);
  EXPECT_THAT(of_eight.plan.samples, ElementsAre(100, 1000));
  EXPECT_THAT(of_eight.plan.result_seeds, SizeIs(5));
  EXPECT_LT(of_eight.simulation.idle_share, 0.10);
}

}  // namespace
}  // namespace dtrain::study
