#include "data/targets.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "data/row_targets.h"
#include "tests/base/failure_of.h"

namespace dtrain::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kSingle = ProblemType::single_label_classification;
constexpr auto kMulti = ProblemType::multi_label_classification;
constexpr auto kRegression = ProblemType::regression;

LabelledTexts rows_of(const std::vector<std::string>& labels) {
  LabelledTexts rows;
  rows.has_labels = true;
  for (const auto& label : labels) {
    const auto line = static_cast<std::int64_t>(rows.rows.size()) + 2;
    rows.rows.push_back({.text = "x", .pair = {}, .label = label, .line = line});
  }
  return rows;
}

LabelledTexts rows_of_lists(const std::vector<std::vector<std::string>>& lists) {
  LabelledTexts rows;
  rows.has_labels = rows.has_label_lists = true;
  for (const auto& labels : lists) {
    const auto line = static_cast<std::int64_t>(rows.rows.size()) + 2;
    rows.rows.push_back({.text = "x", .pair = {}, .label = {}, .labels = labels, .line = line});
  }
  return rows;
}

TEST(ProblemTypeOfLabels, FollowsFromTheirForm) {
  EXPECT_EQ(problem_type_of(rows_of({"a", "b"}), "f"), kSingle);
  EXPECT_EQ(problem_type_of(rows_of_lists({{"a"}, {}}), "f"), kMulti);
  std::vector<std::string> grades, ids, scores;
  for (int i = 0; i < 11; ++i) {
    grades.push_back(std::to_string(i % 9 / 2.0));
    ids.push_back(std::to_string(i));
    scores.push_back(std::to_string(i / 2.0));
  }
  EXPECT_EQ(problem_type_of(rows_of(grades), "f"), kSingle) << "nine half grades";
  EXPECT_EQ(problem_type_of(rows_of(ids), "f"), kSingle) << "whole numbers are often names";
  scores.push_back("none");
  EXPECT_EQ(problem_type_of(rows_of(scores), "f"), kSingle) << "not all are numbers";
}

TEST(ProblemTypeOfLabels, OfScoresIsForTheUserToSay) {
  std::vector<std::string> scores;
  for (int i = 0; i < 11; ++i) scores.push_back(std::to_string(i / 4.0));
  EXPECT_THAT(failure_of<InputError>([&] { problem_type_of(rows_of(scores), "sts.tsv"); }),
              AllOf(HasSubstr("sts.tsv:3: the labels are 11 different numbers such as 0.25"),
                    HasSubstr("--problem-type regression"), HasSubstr("single_label_classification")));
}

TEST(ProblemTypeOfLabels, OfScoresWithCommasOrSignsIsForTheUserToSayToo) {
  std::vector<std::string> commas, signs, pairs;
  for (int i = 0; i < 11; ++i) {
    commas.push_back(std::to_string(i) + ",5");
    signs.push_back("+" + std::to_string(i / 4.0));
    pairs.push_back(std::to_string(i) + ",5,7");
  }
  EXPECT_THAT(failure_of<InputError>([&] { problem_type_of(rows_of(commas), "f"); }),
              AllOf(HasSubstr("f:2: the labels are 11 different numbers such as 0,5"),
                    HasSubstr("--problem-type regression with points for the commas, --label-separator ,")));
  EXPECT_THAT(failure_of<InputError>([&] { problem_type_of(rows_of(signs), "f"); }), HasSubstr("such as +0.25"));
  EXPECT_EQ(problem_type_of(rows_of(pairs), "f"), kSingle);
}

TEST(LabelNames, AreThoseOfAllLists) {
  EXPECT_THAT(label_map_of(rows_of_lists({{"rude", "late"}, {}, {"late"}}), kMulti, "f").names(),
              ElementsAre("late", "rude"));
  EXPECT_THAT(label_map_of(rows_of({"3.5", "1"}), kRegression, "f").names(), ElementsAre("LABEL_0"));
  EXPECT_THAT(label_map_of(rows_of_lists({{"3.5", "1"}, {"0", "2"}}), kRegression, "f").names(),
              ElementsAre("LABEL_0", "LABEL_1"));
}

TEST(LabelNames, AreNoZerosAndOnesInAVector) {
  EXPECT_THAT(failure_of<InputError>([] {
                label_map_of(rows_of_lists({{"0", "1"}, {"1", "1"}}), kMulti, "f");
              }),
              AllOf(HasSubstr("f:3"), HasSubstr("vector of zeros and ones"), HasSubstr("names")));
  EXPECT_THAT(label_map_of(rows_of_lists({{"0", "1"}, {"1"}}), kMulti, "f").names(), ElementsAre("0", "1"));
}

TEST(LabelForm, ThatDoesNotFitTheTypeIsRefusedWithItsLine) {
  EXPECT_THAT(failure_of<InputError>([] { check_label_form(rows_of_lists({{"a"}}), kSingle, "f"); }),
              AllOf(HasSubstr("f:2"), HasSubstr("expected one label")));
  EXPECT_THAT(failure_of<InputError>([] { check_label_form(rows_of({"late"}), kMulti, "f"); }),
              AllOf(HasSubstr("f:2"), HasSubstr("'late'"), HasSubstr("expected a list of labels")));
  check_label_form(rows_of({"1.5"}), kRegression, "f");
  check_label_form(rows_of_lists({{"1.5", "2"}}), kRegression, "f");
}

TEST(TargetsOfRows, AreSetsWithoutOrderOrRepetition) {
  const LabelMap labels({"a", "b", "c"});
  const auto targets = targets_of(rows_of_lists({{"c", "a", "c"}, {}, {"z", "b"}}), kMulti, labels, "f", true);
  EXPECT_EQ(targets.outputs(), 3);
  EXPECT_THAT(targets.labels_of(0), ElementsAre(0, 2));
  EXPECT_EQ(targets.labels_of(1).size(), 0U);
  EXPECT_THAT(targets.labels_of(2), ElementsAre(1));
  const auto part = targets.subset({2, 0});
  EXPECT_THAT(part.labels_of(0), ElementsAre(1));
  EXPECT_THAT(part.labels_of(1), ElementsAre(0, 2));
  EXPECT_EQ(part.digest(), targets.subset({1, 2, 0}).subset({1, 2}).digest());
  EXPECT_NE(part.digest(), targets.subset({0, 2}).digest());
}

TEST(TargetsOfRows, AreFiniteNumbers) {
  const LabelMap one({"LABEL_0"});
  const auto targets = targets_of(rows_of({"-1.25", "3e2", "+.5"}), kRegression, one, "f", true);
  EXPECT_EQ(targets.numbers_of(0)[0], -1.25);
  EXPECT_EQ(targets.numbers_of(1)[0], 300);
  EXPECT_EQ(targets.numbers_of(2)[0], 0.5);
  for (const char* wrong : {"high", "nan", "inf", "1,5", "2 ", "+-1", "++1", "+"}) {
    EXPECT_THAT(failure_of<InputError>([&] {
                  targets_of(rows_of({"1", wrong}), kRegression, one, "f", true);
                }),
                AllOf(HasSubstr("f:3"), HasSubstr(wrong), HasSubstr("expected a finite number")));
    EXPECT_TRUE(std::isnan(targets_of(rows_of({wrong}), kRegression, one, "f", false).numbers_of(0)[0]));
  }
  EXPECT_THAT(failure_of<InputError>([&] { targets_of(rows_of({"1,5"}), kRegression, one, "f", true); }),
              HasSubstr("expected a finite number with a point for the comma"));
  EXPECT_THAT(failure_of<InputError>([&] {
                targets_of(rows_of_lists({{"1", "2"}}), kRegression, one, "f", true);
              }),
              AllOf(HasSubstr("f:2"), HasSubstr("2 numbers; expected 1")));
  EXPECT_THAT(failure_of<InputError>([] {
                label_map_of(rows_of_lists({{"1", "2"}, {"3"}}), kRegression, "f");
              }),
              AllOf(HasSubstr("f:3"), HasSubstr("1 numbers; expected as many in every row, 2")));
}

TEST(TargetsOfRows, OfClassesAreUnknownWithoutAName) {
  const auto targets = targets_of(rows_of({"b", "z", ""}), kSingle, LabelMap({"a", "b"}), "f", false);
  EXPECT_EQ(targets.class_of(0), 1);
  EXPECT_EQ(targets.class_of(1), -1);
  EXPECT_EQ(targets.class_of(2), -1);
}

TEST(StratifiedDraws, HaveTheRarestLabelsAndTheWholeRangeOfNumbers) {
  // One example in fifty has the rare label, beside the frequent one.
  std::vector<std::vector<std::int32_t>> sets;
  std::vector<std::vector<double>> numbers;
  for (int i = 0; i < 500; ++i) {
    sets.push_back(i % 50 == 7 ? std::vector<std::int32_t>{0, 1} : std::vector<std::int32_t>{0});
    numbers.push_back({i % 10 == 0 ? 3.0 : i / 500.0});
  }
  const auto multi = Targets::of_label_sets(sets, 2);
  const auto draw = stratified_draw(multi, 50, 3);
  EXPECT_EQ(draw.size(), 50U);
  EXPECT_EQ(std::count_if(draw.begin(), draw.end(), [](std::int64_t i) { return i % 50 == 7; }), 1);
  const auto larger = stratified_draw(multi, 100, 3);
  EXPECT_TRUE(std::includes(larger.begin(), larger.end(), draw.begin(), draw.end()));

  const auto regression = Targets::of_numbers(numbers, 1);
  const auto strata = strata_of(regression);
  std::set<std::int32_t> of_three;
  std::set<std::int32_t> all;
  for (std::size_t i = 0; i < 500; ++i) {
    all.insert(strata.of_examples[i]);
    if (i % 10 == 0) of_three.insert(strata.of_examples[i]);
  }
  EXPECT_EQ(of_three.size(), 1U) << "equal numbers are of one stratum";
  EXPECT_EQ(all.size(), 10U);
  const auto ten = stratified_draw(regression, 10, 1);
  EXPECT_EQ(std::count_if(ten.begin(), ten.end(), [](std::int64_t i) { return i % 10 == 0; }), 1);
}

}  // namespace
}  // namespace dtrain::data
