// Metrics that are means over what results keep of each example: log-loss, of which less is better.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "study/findings/analysis.h"
#include "study/findings/verdict.h"
#include "study/page/page.h"
#include "study/plan/example_values.h"
#include "study/report/report.h"
#include "study/report/so_far.h"
#include "study/report/tables.h"
#include "tests/study/study_case.h"

namespace dtrain::study {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const EvaluationSet kTest{"test", 3, 0.5, {0, 1, 2}};

TrialOutcome with_losses(std::vector<float> losses) {
  TrialOutcome outcome;
  outcome.scores["test"] = {1, 0, 1};
  outcome.values["test"]["log_loss"] = std::move(losses);
  return outcome;
}

TEST(MeanValues, OfLossesAreTheirNegativesSoThatMoreIsBetter) {
  const auto found = example_values("log_loss", kTest, with_losses({0.5F, 2, 0}));
  ASSERT_TRUE(found);
  EXPECT_THAT(found->values, ElementsAre(-0.5, -2, 0));
  EXPECT_EQ(found->unit, 0) << "a loss has no limit";
}

TEST(MeanValues, OfSharesAreAsTheyAre) {
  TrialOutcome outcome;
  outcome.values["test"]["subset_accuracy"] = {1, 0, 1};
  const auto found = example_values("subset_accuracy", kTest, outcome);
  ASSERT_TRUE(found);
  EXPECT_THAT(found->values, ElementsAre(1, 0, 1));
  EXPECT_EQ(found->unit, 1);
}

TEST(MeanValues, AreNoneWhereTheyWereNotKeptOrAreNoNumbers) {
  TrialOutcome outcome = with_losses({1, std::numeric_limits<float>::infinity(), 0});
  EXPECT_FALSE(example_values("log_loss", kTest, outcome));
  outcome.values.clear();
  EXPECT_FALSE(example_values("log_loss", kTest, outcome)) << "scores are not losses";
  EXPECT_TRUE(example_values("accuracy", kTest, outcome));
}

TEST(MeanValues, MakeDifferencesWhoseUnitIsTheLargestOfThem) {
  const auto first = example_values("log_loss", kTest, with_losses({0.5F, 2, 0}));
  const auto second = example_values("log_loss", kTest, with_losses({0.5F, 5, 1}));
  const auto difference = difference_in_values({{&*first, &*second}, {&*first, &*second}});
  ASSERT_TRUE(difference);
  EXPECT_DOUBLE_EQ(difference->mean, 4.0 / 3) << "what the first is better by";
  EXPECT_EQ(difference->unit, 3);
  const auto same = difference_in_values({{&*first, &*first}, {&*first, &*first}});
  ASSERT_TRUE(same);
  EXPECT_EQ(same->mean, 0);
  EXPECT_TRUE(std::isfinite(same->half_width(0.95)));
}

// The losses of a method whose margins are those of the examples and what is its own: of the example, the seed, both.
std::vector<double> drawn_losses(const std::vector<double>& margins, double seed_deviation, SplitMix64& random) {
  const double of_seed = seed_deviation * normal(random);
  std::vector<double> losses;
  for (const double margin : margins) losses.push_back(std::log1p(std::exp(-(margin + of_seed + normal(random)))));
  return losses;
}

// How often the 95 % interval holds the true difference of two like methods on 500 examples, which is zero.
double coverage(int seeds, double seed_deviation, int studies) {
  SplitMix64 random(29);
  double covered = 0;
  for (int study = 0; study < studies; ++study) {
    std::vector<double> margins[2];
    for (int i = 0; i < 500; ++i) {
      const double ease = 2 + 2 * normal(random);
      for (auto& of_method : margins) of_method.push_back(ease + normal(random));
    }
    std::vector<ExampleValues> values;
    for (int seed = 0; seed < seeds; ++seed) {
      for (const auto& of_method : margins) values.push_back({drawn_losses(of_method, seed_deviation, random), 0});
    }
    std::vector<std::pair<const ExampleValues*, const ExampleValues*>> pairs;
    for (std::size_t i = 0; i < values.size(); i += 2) pairs.emplace_back(&values[i], &values[i + 1]);
    covered += difference_in_values(pairs)->p_value() >= 0.05 ? 1.0 / studies : 0;
  }
  return covered;
}

// docs/statistics.md.
TEST(MeanValues, GiveIntervalsOfLogLossThatCoverTheTruth) {
  for (const int seeds : {2, 3, 5}) {
    for (const double seed_deviation : {0.0, 0.1, 0.3}) {
      const double covered = coverage(seeds, seed_deviation, 400);
      RecordProperty("coverage_" + std::to_string(seeds) + "_" + std::to_string(seed_deviation),
                     std::to_string(covered));
      EXPECT_GE(covered, 0.93) << seeds << " seeds, deviation " << seed_deviation;
      if (seed_deviation >= 0.3) {
        EXPECT_LE(covered, 0.99) << seeds << " seeds";
      }
    }
  }
}

// full is right most often, and head has the lowest log-loss; lora has .1 more than head.
class StudyByLogLoss : public testing::Test {
 protected:
  StudyByLogLoss() {
    plan_.metric = "log_loss";
    finish_method(finished_, plan_, 0, 1000, 700, 300, 30);
    finish_method(finished_, plan_, 1, 1000, 650, 300, 2);
    finish_method(finished_, plan_, 2, 1000, 680, 300, 20);
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      take_losses("full", seed, 1.5);
      take_losses("head", seed, 0.5);
      take_losses("lora", seed, 0.6);
    }
  }

  // Around a mean, of the seeds a thousandth apart for all methods alike.
  void take_losses(const std::string& method, std::uint64_t seed, double mean) {
    SplitMix64 random(100 * seed + static_cast<std::uint64_t>(10 * mean));
    mean += 0.001 * (static_cast<double>(seed) - 2);
    TrialOutcome& outcome = result(method, seed);
    for (const EvaluationSet& set : plan_.sets) {
      for (int i = 0; i < 500; ++i) {
        const double off = 0.1 * uniform(random);
        for (const double loss : {mean - off, mean + off})
          outcome.values[set.name]["log_loss"].push_back(static_cast<float>(loss));
      }
      outcome.metrics[set.name]["log_loss"] = mean;
    }
  }
  TrialOutcome& result(const std::string& method, std::uint64_t seed) {
    return finished_.at(Trial{Trial::Phase::result, method, 1000, 0.003, seed}.key()).second;
  }

  StudyPlan plan_ = small_plan({"full", "head", "lora"}, {1000});
  FinishedTrials finished_;
};

TEST_F(StudyByLogLoss, TakesTheMethodWithTheLowest) {
  const Findings found = analyse(plan_, finished_);
  const CountDecision* count = found.decision(1000);
  ASSERT_NE(count, nullptr);
  EXPECT_EQ(count->candidate(*count->decision.best).method, "head");
  const Verdict verdict = verdicts(plan_, found).at(0);
  EXPECT_EQ(verdict.advised, "head");
  EXPECT_THAT(verdict.findings[0], AllOf(HasSubstr("head wins with 0.500 ± 0.002 log-loss. It beats "),
                                         HasSubstr("lora by 10.0 points (9."), Not(HasSubstr("%"))));
  EXPECT_THAT(verdict.advice, HasSubstr("it has the lowest mean, and is shown to lose no more than 1.0 points"));
  EXPECT_THAT(best_so_far(plan_, found), HasSubstr("best so far head 0.500"));
  const Table quality = quality_table(plan_, found);
  EXPECT_EQ(quality.header.at(4), "test log-loss");
  EXPECT_EQ(quality.rows.at(1).at(4), "0.500 ± 0.002") << "as in the sentences";
  const Table decisions = decision_table(plan_, found);
  EXPECT_THAT(decisions.header, Contains("loss to the lowest mean"));
  EXPECT_EQ(decisions.rows.at(0).at(2), "worse than head");
  EXPECT_EQ(decisions.rows.at(1).at(3), "lowest mean");
  EXPECT_EQ(decisions.rows.at(2).at(3), "10.0");
}

TEST_F(StudyByLogLoss, SaysWhatACheaperMethodWithMoreGivesUp) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) result("lora", seed).cost.train_seconds = 1;
  EXPECT_THAT(verdicts(plan_, analyse(plan_, finished_)).at(0).advice,
              HasSubstr("Else lora, which gives up 10.0 points"));
  plan_.margin = 0.2;
  EXPECT_THAT(verdicts(plan_, analyse(plan_, finished_)).at(0).advice,
              AllOf(HasSubstr("Take lora"), HasSubstr("10.0 points above head, which has the lowest mean")));
}

TEST_F(StudyByLogLoss, KeepsDifferencesAsTheMetricHasThem) {
  const Report report = make_report(plan_, finished_);
  const auto comparison = report.findings.compare("test", 1000, "full", "head");
  ASSERT_TRUE(comparison);
  EXPECT_NEAR(comparison->difference.mean, -1, 1e-6) << "what full is better by";
  EXPECT_NEAR(comparison->in_metric("log_loss").mean, 1, 1e-6);
  const auto document = results_json(report);
  for (const auto& pair : document.at("comparisons")) {
    if (pair.at("first") != "full" || pair.at("second") != "head") continue;
    EXPECT_NEAR(pair.at("difference").get<double>(), 1, 1e-6);
    EXPECT_LT(pair.at("interval")[0].get<double>(), pair.at("interval")[1].get<double>());
    EXPECT_GT(pair.at("interval")[0].get<double>(), 0.9);
  }
  EXPECT_FALSE(document.at("trials")[0].contains("values"));
  // Beyond a hundred points: a loss has no limit.
  EXPECT_THAT(pair_table(plan_, report.findings).rows.at(0), Contains(HasSubstr("+100.")));
  const auto& methods = document.at("verdict").at("counts")[0].at("decision").at("methods");
  EXPECT_NEAR(methods[0].at("loss").at("mean").get<double>(), 1, 1e-6);
}

TEST_F(StudyByLogLoss, SaysWhichWayIsBetterInFiguresAndNotes) {
  const Report report = make_report(plan_, finished_);
  const std::string page = page::html_text({{&report, "study", {}}});
  EXPECT_THAT(page, AllOf(HasSubstr("Further left is better."), HasSubstr("Down and to the left is better."),
                          HasSubstr("points of log-loss less than full"), HasSubstr("full minus each method"),
                          HasSubstr("the lowest of 3 methods"), HasSubstr("Log-loss is the mean of minus")));
  EXPECT_THAT(page, AllOf(Not(HasSubstr("highest mean")), Not(HasSubstr("Up and to the left"))));
  EXPECT_THAT(page, AllOf(HasSubstr(">log-loss</text>"), HasSubstr(">0.500 ± 0.002</text>"), Not(HasSubstr("x 100"))));
  EXPECT_THAT(reading_notes(report), Contains(HasSubstr("Of log-loss less is better")));
  EXPECT_THAT(reading_notes(report), Contains(HasSubstr("differences of it are in points of 0.01")));
  EXPECT_THAT(reading_notes(report), Not(Contains(HasSubstr("resolve differences"))));
  plan_.metric = "accuracy";
  EXPECT_THAT(reading_notes(make_report(plan_, finished_)), Not(Contains(HasSubstr("less is better"))));
}

TEST_F(StudyByLogLoss, ComparesNothingWithResultsThatKeptNoLossesAndSaysSo) {
  EXPECT_EQ(results_without_values(plan_, finished_), 0);
  for (const std::uint64_t seed : {1, 2, 3}) result("head", seed).values.clear();
  EXPECT_EQ(results_without_values(plan_, finished_), 3);
  EXPECT_FALSE(analyse(plan_, finished_).compare("test", 1000, "full", "head"));
  EXPECT_THAT(markdown_text(make_report(plan_, finished_)),
              HasSubstr("3 results were kept by an earlier version, without what log-loss is computed from"));
  plan_.metric = "accuracy";
  EXPECT_EQ(results_without_values(plan_, finished_), 0);
}

TEST_F(StudyByLogLoss, LeavesAMethodWithoutANumberOutOfTheDecision) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    result("head", seed).metrics["test"]["log_loss"] = std::numeric_limits<double>::infinity();
    result("head", seed).values["test"]["log_loss"][0] = std::numeric_limits<float>::infinity();
  }
  const Findings found = analyse(plan_, finished_);
  EXPECT_EQ(found.decision(1000)->contest.candidates().size(), 2U);
  EXPECT_EQ(verdicts(plan_, found).at(0).advised, "lora");
}

}  // namespace
}  // namespace dtrain::study
