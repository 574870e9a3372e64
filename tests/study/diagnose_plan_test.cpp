// What a diagnosis tries: what there is time for, and what a study beside it knows already.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "study/diagnosis/diagnose_study.h"
#include "study/diagnosis/diagnose_time.h"
#include "tests/study/study_case.h"

namespace dtrain::study {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

DiagnosisPlan usual_plan(std::optional<double> seconds) {
  DiagnosisPlan plan;
  plan.methods = diagnosis_methods("auto", 6);
  plan.seconds = seconds;
  return plan;
}

// Full fine-tuning takes 60 s and the test set 6 s; the probes took 100 s.
DiagnosisTimes usual_times() {
  return {.layers = 6, .training = 60, .scoring = 6, .frozen_pass = 6, .search_share = 0.5, .spent = 100};
}

std::vector<std::string> names_of(const DiagnosisChoice& choice) {
  std::vector<std::string> names;
  for (const auto& method : choice.methods) names.push_back(method.text());
  return names;
}

TEST(DiagnosisChoice, HasEverythingWithoutALimit) {
  const auto choice = choose_within(usual_plan(std::nullopt), usual_times());
  EXPECT_EQ(choice.methods.size(), 9U);
  EXPECT_THAT(choice.left_out, IsEmpty());
  EXPECT_EQ(choice.searched.size(), 10U) << "full, too";
}

TEST(DiagnosisChoice, KeepsWhatIsNotLeftOutHoweverShortTheTime) {
  const auto choice = choose_within(usual_plan(1), usual_times());
  EXPECT_THAT(names_of(choice), ElementsAre("layers:k=1", "layers:k=2", "layers:k=4", "lora"));
  EXPECT_THAT(choice.left_out, ElementsAre("layers:k=3", "layers:k=5", "layers:k=6", "bitfit", "pfeiffer"));
  EXPECT_THAT(choice.searched, IsEmpty());
  // full and lora 66 s each; of k layers 11 s a layer and a frozen pass.
  EXPECT_NEAR(choice.seconds, 66 + (17 + 28 + 50) + 66, 1e-9);
}

TEST(DiagnosisChoice, SearchesTheQuickestFirst) {
  // 161 s of results; searches of four trials of half the steps: 32 s for k=1, 52 s for k=2, 120 s for full and lora.
  EXPECT_THAT(choose_within(usual_plan(100 + 227 + 33), usual_times()).searched, ElementsAre("layers:k=1"));
  EXPECT_THAT(choose_within(usual_plan(100 + 227 + 85), usual_times()).searched,
              ElementsAre("layers:k=1", "layers:k=2"));
}

TEST(DiagnosisChoice, SearchesNoLessWithMoreTimeAndStaysWithinIt) {
  std::size_t tried = 0;
  std::size_t searched = 0;
  for (double seconds = 100; seconds < 3000; seconds += 10) {
    const auto plan = usual_plan(seconds);
    const auto choice = choose_within(plan, usual_times());
    EXPECT_EQ(choice.methods.size() + choice.left_out.size(), plan.methods.size());
    EXPECT_GE(choice.searched.size(), searched) << seconds;
    if (choice.methods.size() > 4 || !choice.searched.empty()) {
      EXPECT_LE(100 + choice.seconds, seconds);
    }
    if (choice.methods.size() > 4) {
      EXPECT_GE(choice.searched.size(), choice.methods.size() - 4) << "what is tried besides has a rate of its own";
    }
    tried = choice.methods.size();
    searched = choice.searched.size();
  }
  EXPECT_EQ(tried, 9U);
  EXPECT_EQ(searched, 10U);
}

TEST(DiagnosisChoice, SearchesNothingThatIsKnownOrGiven) {
  DiagnosisPlan plan = usual_plan(std::nullopt);
  plan.learning_rates = {1e-4};
  EXPECT_THAT(choose_within(plan, usual_times()).searched, IsEmpty());
  plan = {};
  plan.methods = diagnosis_methods("lora", 6);
  const double all = choose_within(plan, usual_times()).seconds;
  plan.known_rates = {{"full", 1e-4}};
  EXPECT_THAT(choose_within(plan, usual_times()).searched, ElementsAre("lora"));
  EXPECT_LT(choose_within(plan, usual_times()).seconds, all);
  plan.known_rates["lora"] = 1e-3;
  EXPECT_THAT(choose_within(plan, usual_times()).searched, IsEmpty());
}

class StudyOfADiagnosis : public testing::Test {
 protected:
  StudyOfADiagnosis() : plan_(small_plan({"full", "lora"}, {100, 1000, 10000})) {
    plan_.identity = {{"model", "01"}, {"test data", "02"}, {"batch size", "32"}, {"precision", "fp32"}};
    finish_method(finished_, plan_, 0, 100, 700, 300, 30);
    finish_method(finished_, plan_, 0, 1000, 700, 300, 30);
  }

  StudyPlan plan_;
  FinishedTrials finished_;
};

TEST_F(StudyOfADiagnosis, TellsTheRatesOfTheMethodsThatItHasSearched) {
  const auto rates = rates_of_study(plan_, finished_, plan_.identity, 1000);
  EXPECT_THAT(rates.by_method, ElementsAre(Pair("full", 0.003)));
  EXPECT_THAT(rates.notes, IsEmpty());
}

TEST_F(StudyOfADiagnosis, TellsNoRateOfAnotherCountOrTraining) {
  const auto of_count = rates_of_study(plan_, finished_, plan_.identity, 500);
  EXPECT_THAT(of_count.by_method, IsEmpty());
  EXPECT_THAT(of_count.notes, ElementsAre(HasSubstr("no trials with 500 examples")));
  auto identity = plan_.identity;
  identity["batch size"] = "8";
  const auto of_training = rates_of_study(plan_, finished_, identity, 1000);
  EXPECT_THAT(of_training.by_method, IsEmpty());
  EXPECT_THAT(of_training.notes, ElementsAre(HasSubstr("batch size is 32 there and 8 here")));
}

TEST_F(StudyOfADiagnosis, IsOfTheSameModelAndData) {
  auto identity = plan_.identity;
  identity["precision"] = "bf16";
  identity["batch size"] = "8";
  EXPECT_THAT(other_question(plan_, identity), IsEmpty());
  identity["test data"] = "03";
  identity["labels"] = "04";
  EXPECT_THAT(other_question(plan_, identity),
              ElementsAre("labels is not set there and 04 here", "test data is 02 there and 03 here"));
}

TEST_F(StudyOfADiagnosis, IsDiagnosedAtItsLargestCountUpToAThousand) {
  EXPECT_EQ(diagnosed_samples(plan_), 1000);
  plan_.samples = {100, 500, 10000};
  EXPECT_EQ(diagnosed_samples(plan_), 500);
  plan_.samples = {5000, 10000};
  EXPECT_EQ(diagnosed_samples(plan_), 5000);
}

}  // namespace
}  // namespace dtrain::study
