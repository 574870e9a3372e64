#include "study/plan/example_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "study/findings/analysis.h"
#include "study/findings/words.h"
#include "study/report/report.h"
#include "tests/study/simulated_answers.h"
#include "tests/study/study_case.h"
#include "train/class_counts.h"

namespace dtrain::study {
namespace {

using testing::HasSubstr;
using testing::Not;

double average(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// What statistics_reference.py computed with scikit-learn: metrics, and their derivatives by the weight of an example.
nlohmann::json scikit_learn_reference() {
  const auto file = std::filesystem::path(DTRAIN_REFERENCE_DIR) / "study" / "statistics.json";
  return nlohmann::json::parse(read_file(file)).at("class_metrics");
}

TEST(ExampleValues, AreTheMetricsOfScikitLearnAndTheirDerivativesByTheExamplesWeights) {
  const auto cases = scikit_learn_reference();
  ASSERT_EQ(cases.size(), 5U);
  for (const auto& expected : cases) {
    EvaluationSet set{"test", 0, 0, expected.at("truth").get<std::vector<std::int32_t>>()};
    TrialOutcome outcome;
    outcome.predicted["test"] = expected.at("predicted").get<std::vector<std::int32_t>>();
    for (const std::string& metric : class_count_metrics()) {
      SCOPED_TRACE(expected.at("name").get<std::string>() + " " + metric);
      const double value = expected.at(metric).at("value");
      const auto influences = expected.at(metric).at("influences").get<std::vector<double>>();
      const auto found = example_values(metric, set, outcome);
      ASSERT_TRUE(found);
      ASSERT_EQ(found->values.size(), influences.size());
      EXPECT_NEAR(average(found->values), value, 1e-12);
      for (std::size_t i = 0; i < influences.size(); ++i)
        EXPECT_NEAR(found->values[i] - value, influences[i], 1e-4 * std::max(1.0, std::abs(influences[i])));
    }
  }
}

TEST(ExampleValues, ScatterAsTheMetricDoesOverOtherExamples) {
  SplitMix64 random(5);
  for (const std::string& metric : class_count_metrics()) {
    std::vector<double> found;
    double expected = 0;
    for (int draw = 0; draw < 600; ++draw) {
      // One seed, alike in all: what scatters is the examples.
      SimulatedTask task;
      task.seed_deviation = 0;
      const PairedDifference difference = simulated_difference(metric, simulated_answers(task, 1, random));
      found.push_back(difference.mean);
      expected += difference.example_variance / 600;
    }
    double variance = 0;
    for (const double value : found) variance += std::pow(value - average(found), 2) / 599;
    EXPECT_NEAR(variance / expected, 1, 0.25) << metric;
  }
}

TEST(ExampleValues, OfAConstantAnswerAreFiniteAndTheMetric) {
  const EvaluationSet set{"test", 4, 0.5, {0, 0, 1, 2}};
  TrialOutcome outcome;
  outcome.predicted["test"] = {0, 0, 0, 0};
  for (const std::string& metric : class_count_metrics()) {
    const ExampleValues found = *example_values(metric, set, outcome);
    for (const double value : found.values) EXPECT_TRUE(std::isfinite(value)) << metric;
    EXPECT_GE(found.unit, 1) << metric;
  }
  EXPECT_EQ(average(example_values("matthews", set, outcome)->values), 0);
  EXPECT_NEAR(average(example_values("macro_f1", set, outcome)->values), 2 * 2.0 / (2 + 4) / 3, 1e-15);
}

TEST(ExampleValues, OfScoresAreTheScoresAndBalancedTheyWeighClassesAlike) {
  const EvaluationSet set{"test", 5, 0.8, {0, 0, 0, 0, 1}};
  TrialOutcome outcome;
  outcome.scores["test"] = {1, 1, 0, 1, 1};
  EXPECT_EQ(example_values("accuracy", set, outcome)->values, outcome.scores["test"]);
  EXPECT_EQ(example_values("accuracy", set, outcome)->unit, 1);
  const ExampleValues balanced = *example_values("balanced_accuracy", set, outcome);
  EXPECT_NEAR(average(balanced.values), (0.75 + 1) / 2, 1e-15);
  EXPECT_EQ(balanced.unit, 2.5);
}

TEST(ExampleValues, AreNoneWithoutAnswersAndRefusedWithoutLabels) {
  const EvaluationSet set{"test", 2, 0.5, {0, 1}};
  TrialOutcome outcome;
  EXPECT_FALSE(example_values("macro_f1", set, outcome));
  EXPECT_FALSE(example_values("accuracy", set, outcome));
  outcome.scores["test"] = outcome.scores["ood.web"] = {1, 0};
  outcome.predicted["test"] = {0, 0, 1};
  EXPECT_TRUE(example_values("accuracy", set, outcome));
  EXPECT_THROW(example_values("macro_f1", set, outcome), std::invalid_argument);
  EXPECT_THROW(example_values("balanced_accuracy", {"ood.web", 2, 0.5, {}}, outcome), std::invalid_argument);
}

// How often the 95 % interval holds the true difference, of studies with these seeds, and how often that of a cluster
// bootstrap does: the same examples, drawn with replacement, for all seeds, the seeds drawn for themselves,
// percentiles.
struct F1Coverage {
  double linearised = 0;
  double bootstrap = 0;
};

double bootstrapped_difference(const std::string& metric, const SimulatedAnswers& drawn, SplitMix64& random) {
  const std::size_t n = drawn.set.labels.size();
  std::vector<std::size_t> examples(n);
  for (std::size_t& example : examples) example = random.below(n);
  double sum = 0;
  for (std::size_t k = 0; k < drawn.first.size(); ++k) {
    const std::size_t seed = random.below(drawn.first.size());
    train::ClassCounts counts[2] = {train::ClassCounts(6), train::ClassCounts(6)};
    const auto place = [](std::int32_t label) { return static_cast<std::size_t>(label); };
    const auto& first = drawn.first[seed].predicted.at("test");
    const auto& second = drawn.second[seed].predicted.at("test");
    for (const std::size_t i : examples) {
      const std::size_t truth = place(drawn.set.labels[i]);
      counts[0].add(truth, place(first[i]));
      counts[1].add(truth, place(second[i]));
    }
    sum += metric == "macro_f1" ? counts[0].macro_f1() - counts[1].macro_f1()
                                : counts[0].matthews() - counts[1].matthews();
  }
  return sum / static_cast<double>(drawn.first.size());
}

// Both methods are alike: the true difference is zero.
F1Coverage f1_coverage(const std::string& metric, int seeds, double seed_deviation, int studies, int resamples) {
  SplitMix64 random(17);
  SimulatedTask task;
  task.seed_deviation = seed_deviation;
  F1Coverage covered;
  for (int study = 0; study < studies; ++study) {
    const SimulatedAnswers drawn = simulated_answers(task, seeds, random);
    covered.linearised += (simulated_difference(metric, drawn).p_value() >= 0.05 ? 1.0 : 0.0) / studies;
    if (resamples == 0) continue;
    int below = 0;
    for (int resample = 0; resample < resamples; ++resample)
      below += bootstrapped_difference(metric, drawn, random) < 0 ? 1 : 0;
    const double share = static_cast<double>(below) / resamples;
    covered.bootstrap += (share > 0.025 && share < 0.975 ? 1.0 : 0.0) / studies;
  }
  return covered;
}

// The figures of docs/statistics.md.
TEST(ExampleValues, GiveIntervalsOfF1ThatCoverTheTruth) {
  for (const int seeds : {2, 3, 5}) {
    for (const double seed_deviation : {0.0, 0.1, 0.3}) {
      const F1Coverage covered = f1_coverage("macro_f1", seeds, seed_deviation, 1000, 0);
      RecordProperty("coverage_" + std::to_string(seeds) + "_" + std::to_string(seed_deviation),
                     std::to_string(covered.linearised));
      EXPECT_GE(covered.linearised, 0.92) << seeds << " seeds, deviation " << seed_deviation;
      // Where seeds scatter little, few of them cannot know it, and the interval is wider than it needs to be.
      if (seed_deviation >= 0.3) {
        EXPECT_LE(covered.linearised, 0.99) << seeds << " seeds";
      }
    }
  }
}

TEST(ExampleValues, CoverTheTruthWhereABootstrapOverFewSeedsDoesNot) {
  const F1Coverage covered = f1_coverage("macro_f1", 2, 0.3, 200, 100);
  EXPECT_GE(covered.linearised, 0.92);
  EXPECT_LT(covered.bootstrap, covered.linearised - 0.05);
}

// Two methods of a study, whose answers are known.
class StudyByF1 : public testing::Test {
 protected:
  StudyByF1() {
    SplitMix64 random(3);
    SimulatedTask task;
    task.examples = 1000;
    task.second = {0.9, 0.7, 0.5, 0.3, 0.1, 0};
    task.seed_deviation = 0.01;
    const SimulatedAnswers drawn = simulated_answers(task, 3, random);
    plan_.metric = "macro_f1";
    plan_.sets = {{"test", 1000, 0.5, drawn.set.labels}};
    finish_method(finished_, plan_, 0, 1000, 700, 300, 30);
    finish_method(finished_, plan_, 1, 1000, 500, 400, 2);
    for (std::size_t seed = 0; seed < 3; ++seed) {
      take_answers(0, seed, drawn.first[seed]);
      take_answers(1, seed, drawn.second[seed]);
    }
  }

  void take_answers(std::size_t method, std::size_t seed, const TrialOutcome& answers) {
    TrialOutcome& outcome = result(method, seed + 1);
    outcome.predicted = answers.predicted;
    train::ClassCounts counts(6);
    for (std::size_t i = 0; i < plan_.sets[0].labels.size(); ++i)
      counts.add(static_cast<std::size_t>(plan_.sets[0].labels[i]),
                 static_cast<std::size_t>(answers.predicted.at("test")[i]));
    outcome.metrics["test"]["macro_f1"] = counts.macro_f1();
  }
  TrialOutcome& result(std::size_t method, std::uint64_t seed) {
    const Trial trial{Trial::Phase::result, plan_.methods[method].method.text(), 1000, 0.003, seed};
    return finished_.at(trial.key()).second;
  }

  StudyPlan plan_ = small_plan({"full", "head"}, {1000});
  FinishedTrials finished_;
};

TEST_F(StudyByF1, ComparesByTheDifferenceOfTheMeansThatItShowsAndDecides) {
  const Findings found = analyse(plan_, finished_);
  const auto comparison = found.compare("test", 1000, "full", "head");
  ASSERT_TRUE(comparison);
  const auto mean = [&](const char* method) {
    return found.cell(method, 1000)->metrics.at("test").at("macro_f1").mean;
  };
  EXPECT_NEAR(comparison->difference.mean, mean("full") - mean("head"), 1e-12);
  EXPECT_TRUE(comparison->shown());
  const Verdict verdict = verdicts(plan_, found).at(0);
  EXPECT_EQ(verdict.advised, "full");
  EXPECT_THAT(verdict.findings[0], HasSubstr("full wins with"));
  EXPECT_THAT(verdict.findings[0], HasSubstr("% macro-F1"));
}

TEST_F(StudyByF1, ComparesNothingWithResultsWithoutPredictedClassesAndSaysSo) {
  EXPECT_EQ(results_without_values(plan_, finished_), 0);
  EXPECT_THAT(markdown_text(make_report(plan_, finished_)), Not(HasSubstr("earlier version")));
  for (const std::uint64_t seed : {1, 2, 3}) result(1, seed).predicted.clear();
  EXPECT_EQ(results_without_values(plan_, finished_), 3);
  EXPECT_FALSE(analyse(plan_, finished_).compare("test", 1000, "full", "head"));
  EXPECT_THAT(
      markdown_text(make_report(plan_, finished_)),
      HasSubstr("3 results were kept by an earlier version, without what macro-F1 is computed from: no method is "
                "compared with them by it."));
  plan_.metric = "accuracy";
  EXPECT_EQ(results_without_values(plan_, finished_), 0);
}

TEST_F(StudyByF1, TellsResultsThatDoNotKnowTheMetric) {
  for (const std::uint64_t seed : {1, 2}) result(0, seed).metrics.at("test").erase(plan_.metric);
  EXPECT_EQ(results_without_values(plan_, finished_), 2);
}

}  // namespace
}  // namespace dtrain::study
