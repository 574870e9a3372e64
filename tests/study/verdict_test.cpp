#include "study/findings/verdict.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "study/findings/advice.h"
#include "study/findings/analysis.h"
#include "study/findings/words.h"
#include "study/page/page.h"
#include "study/report/report.h"
#include "study/report/tables.h"
#include "tests/study/study_case.h"

namespace dtrain::study {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

// full is best on test, lora as good as full, head 20 points behind but best out of domain.
class StudyOfThree : public testing::Test {
 protected:
  StudyOfThree() {
    finish_method(finished_, plan_, 0, 1000, 700, 300, 30);
    finish_method(finished_, plan_, 1, 1000, 500, 400, 2);
    finish_method(finished_, plan_, 2, 1000, 699, 300, 20);
  }

  Findings findings() const { return analyse(plan_, finished_); }
  Verdict verdict() const { return verdicts(plan_, findings()).at(0); }
  TrialOutcome& result(std::size_t method, std::uint64_t seed) {
    const Trial trial{Trial::Phase::result, plan_.methods[method].method.text(), 1000, 0.003, seed};
    return finished_.at(trial.key()).second;
  }

  StudyPlan plan_ = small_plan({"full", "head", "lora"}, {1000});
  FinishedTrials finished_;
};

// Each of two methods ahead by `points` with one seed, behind with another: seeds say nothing.
void scatter(TrialOutcome& outcome, int right) {
  outcome.metrics["test"]["accuracy"] = right / 1000.0;
  outcome.scores["test"] = outcome_of(right, 0).scores["test"];
}

TEST_F(StudyOfThree, HasACellForEachMethod) {
  const Findings found = findings();
  ASSERT_THAT(found.cells, SizeIs(3));
  const Cell& full = *found.cell("full", 1000);
  EXPECT_EQ(full.learning_rate, 0.003);
  EXPECT_FALSE(full.at_low_edge || full.at_high_edge);
  const SeedMean& accuracy = full.metrics.at("test").at("accuracy");
  EXPECT_NEAR(accuracy.mean, 0.701, 1e-12);
  EXPECT_NEAR(accuracy.half_width, 4.302652729911275 * 0.001 / std::sqrt(3), 1e-9);
  EXPECT_EQ(found.cell("full", 100), nullptr);
  EXPECT_EQ(full.cost.train_seconds, 30);
}

TEST_F(StudyOfThree, ComparesEachPairOnEachSetBothWaysRound) {
  const Findings found = findings();
  EXPECT_THAT(found.comparisons, SizeIs(6));
  const auto forward = found.compare("test", 1000, "full", "head");
  const auto backward = found.compare("test", 1000, "head", "full");
  ASSERT_TRUE(forward && backward);
  EXPECT_NEAR(forward->difference.mean, 0.2, 1e-12);
  EXPECT_NEAR(backward->difference.mean, -0.2, 1e-12);
  EXPECT_TRUE(forward->shown());
  EXPECT_FALSE(found.compare("test", 1000, "full", "lora")->shown());
  EXPECT_FALSE(found.compare("ood.web", 1000, "full", "lora")->shown());
}

TEST_F(StudyOfThree, SaysWhichIsBestByHowMuchAndWhichIsNotToldApart) {
  EXPECT_THAT(
      verdict().findings,
      ElementsAre(
          AllOf(
              HasSubstr("On test (1,000 examples, 3 seeds): full has the highest accuracy, 70.1 ± 0.2 %."),
              HasSubstr("It beats head by 20.0 points (17.3 to 22.7)."),
              HasSubstr("It is not told apart from lora (+0.1 points, -0.3 to 0.5): they are equal within 0.5 points."),
              Not(HasSubstr("wins"))),
          AllOf(HasSubstr("Out of domain (web) (1,000 examples, 3 seeds): head wins with 40.1 ± 0.2 %"),
                HasSubstr("It beats full by 10.0 points"))));
}

TEST_F(StudyOfThree, AdvisesTheCheapestOfThoseAsGood) {
  const Verdict said = verdict();
  EXPECT_EQ(said.advised, "lora");
  EXPECT_THAT(
      said.advice,
      AllOf(HasSubstr("Take lora: it is the cheapest of those shown to be as good as the best within 1.0 points, and "
                      "0.1 points below full, which has the highest mean (1,000 trainable parameters, 3.9 KiB "
                      "all-reduced a step, 100 samples/s, peak memory 1.0 GiB, 4.9 KiB stored)."),
            HasSubstr("Else head, which gives up 19.9 points ("),
            HasSubstr("; no more than 1.0 with probability < 1 %) and takes 2.0 s instead of 20.0 s"),
            Not(HasSubstr("Undecided")), HasSubstr("Where inputs are like web, take head: 10.0 points")));
  EXPECT_THAT(said.warnings, IsEmpty());
}

TEST_F(StudyOfThree, HasNoSignOfWhatIsNotShown) {
  // A third of a tenth of a point, the other way round.
  finish_method(finished_, plan_, 2, 1000, 700, 300, 20);
  scatter(result(2, 1), 701);
  const auto row = pair_table(plan_, findings()).rows.at(1);
  EXPECT_EQ(row.at(2), "full - lora");
  EXPECT_EQ(row.at(3), "0.0");
}

TEST_F(StudyOfThree, ShowsNoNumberWhereThereIsNone) {
  // As Pearson's correlation of what is constant.
  for (auto& [key, trial] : finished_) trial.second.metrics["ood.web"]["balanced_accuracy"] = std::nan("");
  const Table table = quality_table(plan_, findings());
  ASSERT_EQ(table.header.back(), "ood.web balanced %");
  EXPECT_EQ(table.rows.at(0).back(), "-");
}

TEST_F(StudyOfThree, SaysWhatAConstantAnswerToSetsOfLabelsIs) {
  plan_.problem_type = ProblemType::multi_label_classification;
  plan_.metric = "samples_f1";
  for (auto& [key, trial] : finished_) {
    for (const char* set : {"test", "ood.web"}) trial.second.metrics[set]["samples_f1"] = 0.2;
  }
  EXPECT_THAT(verdict().findings[0], HasSubstr("no method has more than the 30.0 % of always giving the same answer."));
}

TEST_F(StudyOfThree, SaysWhetherRatesWereSearchedOrGiven) {
  EXPECT_THAT(markdown_text(make_report(plan_, finished_)), HasSubstr("Learning rates are chosen on dev (log_loss)"));
  for (MethodPlan& method : plan_.methods) method.learning_rates = {0.003};
  EXPECT_THAT(
      markdown_text(make_report(plan_, finished_)),
      AllOf(HasSubstr("Learning rates are as given, steps are chosen on dev (log_loss); results are means over"),
            Not(HasSubstr("One seed chose the learning rates"))));
}

TEST_F(StudyOfThree, TakesNoMethodWhereAConstantAnswerIsBetter) {
  plan_.sets[1].majority_share = 0.45;
  EXPECT_THAT(verdict().findings[1],
              HasSubstr("no method has more than the 45.0 % of always giving the most frequent"));
  EXPECT_THAT(verdict().advice, Not(HasSubstr("Where inputs are like web")));
}

TEST_F(StudyOfThree, WarnsOfASetOnWhichNoMethodBeatsAConstantAnswer) {
  const auto warning = [&] { return constant_answers_text(plan_, findings(), 1000); };
  EXPECT_THAT(warning(), IsEmpty());
  plan_.sets[1].majority_share = 0.45;
  const char* expected = " Beware: on web (out of domain) no method does better than always giving the same answer.";
  EXPECT_EQ(warning(), expected);
  for (const std::uint64_t seed : {1, 2, 3}) {
    result(0, seed) = {};
    result(0, seed).failure = "the loss of step 3 is nan";
  }
  EXPECT_EQ(warning(), expected) << "a method without a result does not beat it either";
}

TEST_F(StudyOfThree, SaysWhereTheMetricsDisagreeOutOfDomain) {
  for (auto& [key, trial] : finished_) {
    if (trial.first.method == "head") trial.second.metrics["ood.web"]["balanced_accuracy"] = 0.25;
  }
  EXPECT_THAT(verdict().findings[1],
              HasSubstr("By balanced accuracy full and lora have the highest mean, 30.1 % (of head: 25.0 %)"));
  EXPECT_THAT(verdict().advice,
              AllOf(HasSubstr("Where inputs are like web the metrics disagree: head is 10.0 points"),
                    HasSubstr("its balanced accuracy is lower, 25.0 % instead of 30."), Not(HasSubstr("take head"))));
}

TEST_F(StudyOfThree, AdvisesTheBestWhereItIsShownToBeBest) {
  finish_method(finished_, plan_, 2, 1000, 600, 300, 20);
  const Verdict said = verdict();
  EXPECT_EQ(said.advised, "full");
  EXPECT_THAT(said.findings[0], HasSubstr("full wins with 70.1 ± 0.2 % accuracy. It beats lora by 10.0 points"));
  EXPECT_THAT(said.advice, AllOf(HasSubstr("Take full: it has the highest mean, and is shown to lose no more"),
                                 HasSubstr("Else lora, which gives up"), HasSubstr("Else head, which gives up")));
  EXPECT_LT(said.advice.find("Else lora"), said.advice.find("Else head"));
}

TEST_F(StudyOfThree, AdvisesTheFastestWhereItIsAsGoodAsTheOthers) {
  finish_method(finished_, plan_, 1, 1000, 700, 400, 2);
  const Verdict said = verdict();
  EXPECT_EQ(said.advised, "head");
  EXPECT_THAT(said.advice, AllOf(HasSubstr("Take head: it has the highest mean"), Not(HasSubstr("Else")),
                                 Not(HasSubstr("Where inputs"))));
}

TEST_F(StudyOfThree, CallsEqualMeansEqual) {
  finish_method(finished_, plan_, 2, 1000, 700, 300, 20);
  const Verdict said = verdict();
  EXPECT_THAT(
      said.findings[0],
      AllOf(
          HasSubstr("full and lora have the highest accuracy, 70.1"),
          HasSubstr("full is not told apart from lora (the same score on every example): they are equal within 0.4")));
  EXPECT_EQ(said.advised, "lora");
  EXPECT_THAT(
      said.advice,
      AllOf(HasSubstr("Take lora: it has the highest mean, the same as full, and is shown to lose no more than"),
            Not(HasSubstr("Else full"))));
  const Table table = decision_table(plan_, findings());
  EXPECT_EQ(table.rows.at(0).at(3), "highest mean, as lora");
  EXPECT_EQ(table.rows.at(2).at(3), "highest mean, as full");
}

TEST_F(StudyOfThree, NamesAllThatHaveTheHighestMeanWhereAnotherIsTaken) {
  finish_method(finished_, plan_, 1, 1000, 699, 300, 2);
  finish_method(finished_, plan_, 2, 1000, 700, 300, 20);
  EXPECT_THAT(verdict().advice,
              HasSubstr("Take head: it is the cheapest of those shown to be as good as the best within 1.0 points, and "
                        "0.1 points below full and lora, which have the highest mean"));
}

TEST_F(StudyOfThree, BoundsIdenticalAnswersByTheNumberOfExamples) {
  for (auto& [key, trial] : finished_) {
    for (auto& [set, values] : trial.second.scores) values.assign(100, 1.0);
  }
  for (EvaluationSet& set : plan_.sets) set.examples = 100;
  // 1 - .025 ** (1 / 100)
  EXPECT_THAT(verdict().findings[0],
              AllOf(HasSubstr("(the same score on every example): no difference larger than 3.6 points"),
                    Not(HasSubstr("equal within"))));
  EXPECT_THAT(verdict().advised, IsEmpty()) << "a loss of 3.6 points is more than the margin";
}

TEST_F(StudyOfThree, SaysWhoIsAheadOverTheSeedsThatBothHave) {
  finish_method(finished_, plan_, 2, 1000, 760, 300, 20);
  plan_.more_seeds[1000]["full"] = {4};
  finish(finished_, {Trial::Phase::result, "full", 1000, 0.003, 4}, outcome_of(990, 300));
  EXPECT_THAT(verdict().findings[0], AllOf(HasSubstr("full has the highest accuracy"),
                                           HasSubstr("Over the seeds that both have it is behind lora by 6.0 points ("),
                                           HasSubstr("; 3 seeds)."), Not(HasSubstr("not told apart from lora"))));
}

TEST_F(StudyOfThree, ClaimsNoWinThatSeedsScatterOver) {
  // full is 5 points ahead in the mean, and behind with one seed.
  for (const std::uint64_t seed : {1, 2, 3}) scatter(result(0, seed), seed == 3 ? 650 : 760);
  const Verdict said = verdict();
  EXPECT_THAT(said.findings[0], AllOf(HasSubstr("full has the highest accuracy"), Not(HasSubstr("wins")),
                                      HasSubstr("not told apart from lora (+2.3 points): too few seeds to say")));
  EXPECT_THAT(said.advised, IsEmpty());
  EXPECT_EQ(said.best_guess, "full");
  EXPECT_THAT(said.advice, testing::StartsWith("Undecided: which method is best within 1.0 points: "));
  EXPECT_THAT(said.advice, AllOf(HasSubstr("would decide it, if the means stay as they are"),
                                 HasSubstr("Until then full is the best guess"), HasSubstr("with probability ")));
}

TEST_F(StudyOfThree, CountsTheSeedsThatWereAdded) {
  plan_.more_seeds[1000] = {{"full", {4, 5}}, {"lora", {4, 5}}};
  for (const std::uint64_t seed : {1, 2, 3}) scatter(result(0, seed), seed == 3 ? 670 : 760);
  for (const std::uint64_t seed : {4, 5}) {
    finish(finished_, {Trial::Phase::result, "lora", 1000, 0.003, seed}, outcome_of(699, 300));
    finish(finished_, {Trial::Phase::result, "full", 1000, 0.003, seed}, outcome_of(seed == 4 ? 760 : 670, 300));
  }
  const Findings found = findings();
  EXPECT_EQ(found.decisions.at(0).contest.level(), kLevelWithAddedSeeds);
  for (const Comparison& comparison : found.comparisons) EXPECT_EQ(comparison.level, kLevelWithAddedSeeds);
  const auto more = found.decisions.at(0).remedy->more_seeds;
  ASSERT_TRUE(more);
  EXPECT_THAT(verdict().advice, HasSubstr(fmt::format("(--seeds {})", *more + 5)));
  result(0, 5) = {};
  result(0, 5).failure = "the loss of step 3 is nan";
  EXPECT_THAT(verdict().warnings, ElementsAre(HasSubstr("full: 1 of 5 seeds failed")));
  const Report report = make_report(plan_, finished_);
  EXPECT_THAT(
      markdown_text(report),
      AllOf(HasSubstr("means over the seeds 1, 2, 3, each"),
            HasSubstr("At 1,000 samples also, because the answer hung on them: full seeds 4, 5; lora seeds 4, 5."),
            HasSubstr("with 3 seeds that scatter by a point, of "), HasSubstr("with 5 seeds that scatter")));
  const std::string page = page::html_text({{&report, "study", {}}});
  EXPECT_THAT(page, AllOf(HasSubstr("It does so with 3 to 5 seeds"), HasSubstr("Means over 3 to 5 seeds with their")));
}

TEST(Finding, SaysOfAnIntervalWithoutZeroThatItIsOfThatPairAlone) {
  // full is ahead of each of four equal methods by about three points: shown by itself, not over ten pairs.
  const StudyPlan plan = small_plan({"full", "head", "lora", "bitfit", "ia3"}, {1000});
  FinishedTrials finished;
  for (std::size_t method = 0; method < 5; ++method) finish_method(finished, plan, method, 1000, 700, 300, 10);
  for (const std::uint64_t seed : {1, 2, 3}) {
    const Trial trial{Trial::Phase::result, "full", 1000, 0.003, seed};
    scatter(finished.at(trial.key()).second, static_cast<int>(720 + 5 * seed));
  }
  const Findings found = analyse(plan, finished);
  const Comparison comparison = *found.compare("test", 1000, "full", "lora");
  EXPECT_GT(comparison.difference.interval(0.95).low, 0);
  EXPECT_FALSE(comparison.shown());
  EXPECT_TRUE(comparison.shown_alone());
  EXPECT_EQ(found.pairs("test", 1000), 10U);
  EXPECT_THAT(verdicts(plan, found).at(0).findings[0],
              AllOf(HasSubstr("It is ahead of head by 2.9 points ("), HasSubstr("and ia3 by 2.9 points ("),
                    HasSubstr("), each pair by itself; over all 10 pairs of the set at this count that is not shown."),
                    Not(HasSubstr("not told apart")), Not(HasSubstr("wins")), Not(HasSubstr("beats"))));
}

TEST_F(StudyOfThree, ShowsNoDifferenceInForgettingOfSeedsThatAreAllTheSame) {
  // As few examples count it: two seeds lost two of ten.
  for (const std::size_t method : {0, 1, 2}) {
    for (const std::uint64_t seed : {1, 2, 3}) {
      result(method, seed).forgetting = {{"backward_transfer", method == 0 ? -0.2 : 0}};
      if (method == 2) result(method, seed).forgetting["backward_transfer"] = -0.002 * static_cast<double>(seed);
    }
  }
  const Findings found = findings();
  ASSERT_THAT(found.forgetting, SizeIs(3));
  const ForgettingComparison& same = found.forgetting[0];
  EXPECT_EQ(same.first + " " + same.second, "full head");
  EXPECT_EQ(same.p, 0.25);
  EXPECT_FALSE(same.shown());
  EXPECT_TRUE(std::isnan(same.difference.half_width));
  EXPECT_THAT(forgetting_pair_table(found).rows.at(0),
              ElementsAre("backward transfer", "1,000", "full - head", "-0.200", "not known", "0.250", "no"));
  EXPECT_TRUE(found.forgetting[1].shown()) << "that seeds scatter little is known";
}

TEST_F(StudyOfThree, ClaimsNoBoundThatIsNone) {
  plan_.result_seeds = {1, 2};
  scatter(result(0, 1), 750);
  scatter(result(0, 2), 850);
  EXPECT_THAT(verdict().findings[0], AllOf(HasSubstr("too few seeds to say"), Not(HasSubstr("no difference larger"))));
}

TEST_F(StudyOfThree, NeverAdvisesAMethodThatCollapsed) {
  // The cheapest method, on a task that nothing learns better: equal, and still not to be taken.
  for (const std::size_t method : {0, 1, 2}) {
    for (const std::uint64_t seed : {1, 2, 3}) {
      TrialOutcome& outcome = result(method, seed);
      outcome = outcome_of(method == 1 ? 300 : 304, 300);
      if (method == 1) outcome.metrics["test"]["matthews"] = outcome.metrics["dev"]["matthews"] = 0;
      if (method != 1) outcome.metrics["test"]["matthews"] = outcome.metrics["dev"]["matthews"] = 0.2;
      outcome.cost.train_seconds = method == 1 ? 2 : 20;
    }
  }
  EXPECT_TRUE(findings().cell("head", 1000)->all_collapsed());
  EXPECT_FALSE(findings().cell("full", 1000)->all_collapsed()) << "correlated with the labels";
  const Verdict said = verdict();
  EXPECT_EQ(said.advised, "full");
  EXPECT_THAT(said.advice, Not(HasSubstr("head")));
  // stats.binomtest(3, 3).proportion_ci(.95, "exact")
  EXPECT_THAT(said.warnings,
              ElementsAre(AllOf(HasSubstr("head: 3 of 3 seeds collapsed"), HasSubstr("between 29 and 100 %"))));
}

TEST_F(StudyOfThree, CallsNothingShownWhereAllOthersCollapsed) {
  for (const std::size_t method : {1, 2}) {
    for (const std::uint64_t seed : {1, 2, 3}) result(method, seed) = outcome_of(300, 300);
  }
  EXPECT_EQ(verdict().advised, "full");
  EXPECT_THAT(verdict().advice, AllOf(HasSubstr("Take full: every other method collapsed, so that it is compared with"),
                                      Not(HasSubstr("is shown to lose"))));
  const Report report = make_report(plan_, finished_);
  EXPECT_THAT(page::html_text({{&report, "study", {}}}),
              AllOf(HasSubstr("Take full to fine-tune tiny on toy with 1,000 labelled examples: every other method"),
                    HasSubstr("How sure: it is compared with none."), Not(HasSubstr("this is shown, not guessed"))));
  for (const std::uint64_t seed : {1, 2}) {
    result(2, seed) = {};
    result(2, seed).failure = "the loss of step 3 is nan";
  }
  EXPECT_THAT(verdict().advice, HasSubstr("Take full: every other method collapsed or has too few results, so that"));
}

TEST_F(StudyOfThree, GivesNoAdviceWhereEverythingCollapsed) {
  for (const std::size_t method : {0, 1, 2}) {
    for (const std::uint64_t seed : {1, 2, 3}) result(method, seed) = outcome_of(300, 300);
  }
  const Verdict said = verdict();
  EXPECT_THAT(said.advised + said.best_guess, IsEmpty());
  EXPECT_THAT(said.advice, HasSubstr("every seed of every method collapsed"));
}

TEST_F(StudyOfThree, CallsNoMethodBetterAfterOneSeed) {
  plan_.result_seeds = {1};
  const Verdict said = verdict();
  EXPECT_THAT(said.findings[0], AllOf(HasSubstr("One seed only"), HasSubstr("no method is called better"),
                                      Not(HasSubstr("beats")), Not(HasSubstr("±"))));
  EXPECT_THAT(said.advice, HasSubstr("No advice"));
  EXPECT_THAT(said.advised, IsEmpty());
}

TEST_F(StudyOfThree, SaysWhereTheBestLearningRateIsAtAnEdge) {
  for (const Trial& trial : search(plan_, plan_.methods[2], 1000, {}).ready)
    finish(finished_, trial, outcome_of(1, 1, 1 / trial.learning_rate));
  for (const Trial& trial : result_trials(plan_, plan_.methods[2], 1000, 0.01))
    finish(finished_, trial, outcome_of(699, 300));
  EXPECT_THAT(
      verdict().warnings,
      ElementsAre("lora: the best learning rate, 0.01, is the largest that was tried; a better one may lie beyond "
                  "(--lrs)."));
}

TEST(Edge, IsWhatWasTriedNotWhatIsInferredFromIt) {
  Cell cell;
  cell.search = {{0.003, 0.27, 0.5}, {0.01, 0.27, 0.4}};
  cell.at_high_edge = true;
  cell.learning_rate = 0.0052;
  EXPECT_EQ(edge_text(cell), "0.0052, is inferred from the largest that was tried, 0.01");
  cell.learning_rate = 0.01;
  EXPECT_EQ(edge_text(cell), "0.01, is the largest that was tried");
  cell.at_high_edge = false;
  cell.at_low_edge = true;
  cell.learning_rate = 0.003;
  EXPECT_EQ(edge_text(cell), "0.003, is the smallest that was tried");
}

TEST_F(StudyOfThree, FlagsACollapsedSeedAndKeepsItInTheMean) {
  // The share of the most frequent class.
  result(0, 2).metrics["test"]["accuracy"] = result(0, 2).metrics["dev"]["accuracy"] = 0.3;
  const Cell full = *findings().cell("full", 1000);
  EXPECT_THAT(full.collapsed, ElementsAre(2U));
  EXPECT_NEAR(full.metrics.at("test").at("accuracy").mean, (0.7 + 0.3 + 0.702) / 3, 1e-12);
  EXPECT_THAT(verdict().warnings,
              ElementsAre(AllOf(HasSubstr("full: 1 of 3 seeds collapsed (seed 2)"), HasSubstr("between 1 and 91 %"))));
}

TEST_F(StudyOfThree, CallsNoRunCollapsedThatAnswersRightly) {
  // Sure of itself where it is wrong: a loss above guessing, and 50 % accuracy where guessing has 30 %.
  result(1, 3).metrics["dev"]["log_loss"] = 2 * std::log(4.0);
  EXPECT_THAT(findings().cell("head", 1000)->collapsed, IsEmpty());
  // Bad on test alone: another fault than having learned nothing.
  result(1, 3).metrics["test"]["accuracy"] = 0.2;
  EXPECT_THAT(findings().cell("head", 1000)->collapsed, IsEmpty());
}

TEST_F(StudyOfThree, CallsNoRunCollapsedForUnevenClasses) {
  for (EvaluationSet& set : plan_.sets) set.majority_share = 0.995;
  plan_.dev_majority_share = 0.995;
  TrialOutcome& outcome = result(0, 1);
  for (const char* set : {"dev", "test"}) {
    outcome.metrics[set]["accuracy"] = 0.998;
    outcome.metrics[set]["matthews"] = 0.7;
  }
  EXPECT_THAT(findings().cell("full", 1000)->collapsed, ElementsAre(2U, 3U));
}

TEST_F(StudyOfThree, ComparesByBalancedAccuracy) {
  // The first 500 test examples are of one class, the others of another; full is right on the first 700.
  plan_.metric = "balanced_accuracy";
  for (EvaluationSet& set : plan_.sets) {
    set.labels.assign(1000, 0);
    std::fill(set.labels.begin() + 900, set.labels.end(), 1);
  }
  const auto comparison = findings().compare("test", 1000, "full", "head");
  ASSERT_TRUE(comparison);
  // 200 of the 900 of the frequent class more: 200 / 900 / 2.
  EXPECT_NEAR(comparison->difference.mean, 200.0 / 900 / 2, 1e-12);
  EXPECT_NEAR(comparison->difference.unit, 5, 1e-12);
  EXPECT_THAT(verdict().findings[0], HasSubstr("the highest balanced accuracy, 70.1"));
}

TEST_F(StudyOfThree, RecommendsBalancedAccuracyForUnevenClasses) {
  EXPECT_THAT(markdown_text(make_report(plan_, finished_)), Not(HasSubstr("--metric balanced_accuracy")));
  plan_.sets[0].majority_share = 0.7;
  EXPECT_THAT(markdown_text(make_report(plan_, finished_)),
              AllOf(HasSubstr("The most frequent class has 70 % of the test examples"),
                    HasSubstr("--metric balanced_accuracy"), HasSubstr("--metric macro_f1")));
}

TEST_F(StudyOfThree, KeepsAFailedSeedOutOfMeansAndPairsAndSaysSo) {
  result(0, 2) = {};
  result(0, 2).failure = "the loss of step 3 is nan";
  const Findings found = findings();
  EXPECT_NEAR(found.cell("full", 1000)->metrics.at("test").at("accuracy").mean, (0.7 + 0.702) / 2, 1e-12);
  EXPECT_EQ(found.compare("test", 1000, "full", "head")->difference.seeds, 2);
  EXPECT_EQ(found.compare("test", 1000, "lora", "head")->difference.seeds, 3);
  EXPECT_THAT(verdict().warnings,
              ElementsAre("full: 1 of 3 seeds failed (seed 2) and is in no mean. Why seed 2 did: the "
                          "loss of step 3 is nan."));
}

TEST_F(StudyOfThree, SaysWhichMethodsShareTooFewSeedsToBeCompared) {
  // Two seeds each, one of which both have.
  for (const std::size_t method : {0, 2}) {
    result(method, method == 0 ? 1 : 2) = {};
    result(method, method == 0 ? 1 : 2).failure = "out of memory";
  }
  const Verdict said = verdict();
  EXPECT_THAT(
      said.advice,
      AllOf(HasSubstr("Fewer than two seeds ended of both full and lora: no difference of them is known (--seeds)."),
            HasSubstr("is a guess by its mean alone ("), Not(HasSubstr("nan")),
            Not(HasSubstr("Not even 50 more seeds"))));
}

TEST_F(StudyOfThree, SaysThatAMethodNeverTrained) {
  for (const Trial& trial : search(plan_, plan_.methods[0], 1000, {}).ready) {
    TrialOutcome failed;
    failed.failure = "the loss of step 1 is inf";
    finish(finished_, trial, failed);
  }
  const Verdict said = verdict();
  EXPECT_THAT(said.warnings, ElementsAre(HasSubstr("full: no learning rate of its grid trained")));
  EXPECT_THAT(said.findings[0], HasSubstr("lora wins"));
}

// Studies of full (30 s) and head (2 s): full has 700 right, head as many as are given, at 100, 1,000, 10,000 ...
// samples.
std::string trend_of(const std::vector<int>& head_right) {
  std::vector<std::int64_t> counts;
  for (std::int64_t count = 100; counts.size() < head_right.size(); count *= 10) counts.push_back(count);
  const StudyPlan plan = small_plan({"full", "head"}, counts);
  FinishedTrials finished;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    finish_method(finished, plan, 0, counts[i], 700, 300, 30);
    finish_method(finished, plan, 1, counts[i], head_right[i], 300, 2);
  }
  return trend_text(plan, analyse(plan, finished));
}

TEST(Trend, CannotBeShownByOneSampleCount) {
  EXPECT_THAT(trend_of({700}), HasSubstr("One sample count only (100): this cannot show where the answer changes"));
}

TEST(Trend, SaysWhereTheAnswerChangesAndWhereItDoesNot) {
  EXPECT_EQ(trend_of({700, 700}), "The advice is head at every count from 100 to 1,000 samples.");
  EXPECT_EQ(trend_of({700, 600}),
            "The advice changes with the size of the data: from head to full between 100 and 1,000 samples; where "
            "exactly takes at least three counts to say.");
}

TEST(Trend, MissesNoCountThatWasGivenUp) {
  StudyPlan plan = small_plan({"full", "head"}, {100, 1000, 10'000});
  FinishedTrials finished;
  for (const std::int64_t count : {100, 1000}) {
    finish_method(finished, plan, 0, count, 700, 300, 30);
    finish_method(finished, plan, 1, count, 700, 300, 2);
  }
  EXPECT_THAT(trend_text(plan, analyse(plan, finished)), HasSubstr("no trend is claimed"));
  plan.drop_count(10'000);
  EXPECT_EQ(trend_text(plan, analyse(plan, finished)), "The advice is head at every count from 100 to 1,000 samples.");
  plan.samples = {100, 10'000};
  EXPECT_THAT(trend_text(plan, analyse(plan, finished)),
              HasSubstr("One sample count only (100; larger ones were given up): this cannot show"));
}

TEST(Trend, FitsWhereTheAnswerChanges) {
  // 5 points a decade, and a point (10 examples) at 10 ^ (2 + 1 / 5): 158.
  EXPECT_THAT(
      trend_of({700, 650, 600, 550}),
      AllOf(HasSubstr("from head to full between 100 and 1,000 samples: by a line through their difference over "
                      "log N, 1.0 points are reached at about 160 samples (95 % interval "),
            HasSubstr(" to ")));
  EXPECT_THAT(trend_of({700, 500, 690, 400}), HasSubstr("does not show where"));
}

TEST(Findings, AreAdjustedOverThePairsOfOneSampleCount) {
  const StudyPlan plan = small_plan({"full", "head", "lora"}, {100, 1000});
  FinishedTrials finished;
  finish_method(finished, plan, 0, 100, 700, 300, 3);
  finish_method(finished, plan, 1, 100, 690, 300, 1);
  finish_method(finished, plan, 2, 100, 670, 300, 2);
  for (auto& [key, trial] : finished) {
    if (trial.first.phase == Trial::Phase::result)
      trial.second.forgetting = {{"mrr", (trial.first.method == "head" ? 0.1 : 0.2) * trial.first.seed}};
  }
  const Findings before = analyse(plan, finished);
  ASSERT_THAT(before.comparisons, SizeIs(6));
  std::vector<double> p_values;
  for (const Comparison& comparison : before.comparisons) {
    if (comparison.set == "test") p_values.push_back(comparison.difference.p_value());
  }
  EXPECT_EQ(before.pairs("test", 100), 3U);
  EXPECT_EQ(before.comparisons[0].adjusted_p, holm(p_values)[0]);
  // What is found at another count changes nothing.
  for (const std::size_t method : {0, 1, 2}) finish_method(finished, plan, method, 1000, 800, 300, 3);
  for (auto& [key, trial] : finished) {
    if (trial.first.phase == Trial::Phase::result && trial.first.samples == 1000)
      trial.second.forgetting = {{"mrr", 0.2 * trial.first.seed}};
  }
  const Findings after = analyse(plan, finished);
  EXPECT_EQ(after.pairs("test", 100), 3U);
  EXPECT_EQ(after.pairs("test", 1000), 3U);
  const auto document = [&](const Findings& found) { return verdict_json(plan, found, verdicts(plan, found)); };
  EXPECT_EQ(document(before).at("counts")[0], document(after).at("counts")[0]);
  ASSERT_THAT(after.forgetting, SizeIs(6));
  for (const ForgettingComparison& comparison : before.forgetting) {
    const auto same = std::find_if(after.forgetting.begin(), after.forgetting.end(), [&](const auto& other) {
      return other.samples == 100 && other.first == comparison.first && other.second == comparison.second;
    });
    EXPECT_EQ(same->adjusted_p, comparison.adjusted_p) << comparison.first << ", " << comparison.second;
  }
}

TEST(Findings, LeaveOutWhatIsNotFinished) {
  const StudyPlan plan = small_plan({"full", "head"}, {100});
  FinishedTrials finished;
  finish_method(finished, plan, 0, 100, 700, 300, 3);
  const Findings found = analyse(plan, finished);
  EXPECT_THAT(found.cells, SizeIs(1));
  EXPECT_THAT(found.comparisons, IsEmpty());
}

TEST(Resolution, IsThatOfTheSeedsOfEachCount) {
  StudyPlan plan = small_plan({"full", "head"}, {1000});
  const std::string of_three = " with 3 seeds that scatter by a point";
  EXPECT_THAT(resolution_text(plan, plan.sets[0]),
              AllOf(HasSubstr("test: 1,000 examples resolve differences of about "), testing::EndsWith(of_three)));
  plan = small_plan({"full", "head"}, {100, 1000, 10'000});
  EXPECT_THAT(resolution_text(plan, plan.sets[0]), testing::EndsWith(of_three + " at 100, 1,000 and 10,000 samples"));
  plan.drop_seed(1000, 3);
  plan.drop_count(10'000);
  plan.more_seeds[100]["head"] = {4};
  EXPECT_THAT(resolution_text(plan, plan.sets[0]),
              AllOf(HasSubstr(" with 2 seeds that scatter by a point at 1,000 samples, of "),
                    HasSubstr(of_three + " at 100 samples, of "),
                    testing::EndsWith(" with 4 seeds that scatter by a point at 100 samples")));
}

TEST(RunText, HoldsTheForecastAgainstThePlanAndNotAgainstAddedSeeds) {
  RunFacts facts;
  facts.groups = 2;
  facts.forecast_seconds = 400;
  facts.seconds = facts.planned_seconds = 440;
  EXPECT_THAT(run_text(facts), HasSubstr("took 7 min 20 s (forecast 6 min 40 s, +10 %), 0 % of the groups' time idle"));
  facts.seconds = 560;
  EXPECT_THAT(run_text(facts), HasSubstr("took 9 min 20 s (of which the plan 7 min 20 s; forecast 6 min 40 s, +10 %; "
                                         "then added seeds)"));
}

TEST(Rates, AreWrittenAsAPersonDoes) {
  EXPECT_EQ(rate_text(5e-5), "5e-5");
  EXPECT_EQ(rate_text(1.5e-4), "0.00015");
  EXPECT_EQ(rate_text(0.003), "0.003");
}

TEST_F(StudyOfThree, IsReportedAsJsonWithItsTrialsCellsAndVerdict) {
  const auto json = results_json(make_report(plan_, finished_));
  EXPECT_EQ(json.at("schema"), 1);
  EXPECT_THAT(json.at("trials"), SizeIs(18));
  EXPECT_FALSE(json.at("trials")[0].contains("scores")) << "thousands of digits that the journal has";
  EXPECT_THAT(json.at("cells"), SizeIs(3));
  EXPECT_NEAR(json.at("cells")[0].at("metrics").at("test").at("accuracy").at("mean").get<double>(), 0.701, 1e-12);
  EXPECT_EQ(json.at("comparisons")[0].at("first"), "full");
  const auto& count = json.at("verdict").at("counts")[0];
  EXPECT_EQ(count.at("advised"), "lora");
  EXPECT_EQ(count.at("decision").at("methods")[1].at("standing"), "worse");
  EXPECT_NEAR(count.at("decision").at("methods")[1].at("loss").at("mean").get<double>(), 0.2, 1e-12);
  EXPECT_TRUE(count.at("decision").at("would_decide").is_null());
  EXPECT_EQ(json.at("verdict").at("margin"), 0.01);
  EXPECT_EQ(json.at("cells")[0].at("collapsed_share").at("mean"), 0);
  EXPECT_FALSE(json.at("plan").at("sets")[0].contains("labels"));
}

TEST_F(StudyOfThree, IsReportedInMarkdown) {
  Report report = make_report(plan_, finished_);
  report.command = "dtrain compare --config out/config.ini";
  EXPECT_THAT(markdown_text(report),
              AllOf(HasSubstr("## Verdict"), HasSubstr("**Advice.** Take lora"), HasSubstr("as good, advised"),
                    HasSubstr("highest mean"), HasSubstr("## Quality"), HasSubstr("70.1 ± 0.2"),
                    HasSubstr("full - head"), HasSubstr("< 0.001"), HasSubstr("chosen"),
                    HasSubstr("dtrain compare --config out/config.ini"), HasSubstr("- precision: fp32")));
}

TEST_F(StudyOfThree, HasNoEmptyTablesBeforeItsFirstResult) {
  const std::string text = terminal_text(make_report(plan_, {}));
  EXPECT_THAT(text, AllOf(Not(HasSubstr("learning rate  ")), HasSubstr("There is no result yet")));
}

TEST_F(StudyOfThree, NotesThatOneSeedChoseTheLearningRates) {
  EXPECT_THAT(reading_notes(make_report(plan_, finished_)), Contains(HasSubstr("One seed chose the learning rates")));
  for (MethodPlan& method : plan_.methods) method.learning_rates = {0.003};
  EXPECT_THAT(reading_notes(make_report(plan_, finished_)), Not(Contains(HasSubstr("One seed chose"))));
}

TEST_F(StudyOfThree, NotesWhatThePlanGaveUp) {
  plan_.changes = {"1,000 samples without seed 4: the trials take longer than was forecast, and the budget is 10 min"};
  const Report report = make_report(plan_, finished_);
  EXPECT_THAT(reading_notes(report), Contains(HasSubstr("The plan was shortened: 1,000 samples without seed 4: the")));
  EXPECT_EQ(results_json(report).at("run").at("changes"), plan_.changes);
}

TEST_F(StudyOfThree, NotesThatTrialsOfOtherRanksCostOtherwise) {
  EXPECT_THAT(markdown_text(make_report(plan_, finished_)), Not(HasSubstr("their costs do not compare")));
  result(0, 1).ranks = 4;
  EXPECT_THAT(markdown_text(make_report(plan_, finished_)),
              HasSubstr("different numbers of ranks (2, 4): their costs do not compare"));
}

}  // namespace
}  // namespace dtrain::study
