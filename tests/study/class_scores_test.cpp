#include "study/findings/class_scores.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "study/page/page.h"
#include "study/page/study_figures.h"
#include "study/report/report.h"
#include "tests/study/study_case.h"

namespace dtrain::study {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// full and head, of whose test set each class and each answer are known.
class ClassScores : public testing::Test {
 protected:
  ClassScores() {
    plan_.sets = {{"test", 6, 0.5, {0, 0, 0, 1, 1, 2}}};
    for (std::size_t method : {0, 1}) {
      finish_method(finished_, plan_, method, 1000, 700, 300, 30);
      answers(method, 1) = {0, 0, 1, 1, 1, 3};
      answers(method, 2) = {0, 0, 0, 1, 0, 2};
    }
  }

  std::vector<std::int32_t>& answers(std::size_t method, std::uint64_t seed) {
    const Trial trial{Trial::Phase::result, plan_.methods[method].method.text(), 1000, 0.003, seed};
    return finished_.at(trial.key()).second.predicted["test"];
  }
  Report report() {
    Report made = make_report(plan_, finished_);
    made.labels = {"act", "body", "food", "time"};
    return made;
  }
  std::vector<ClassScore> scores() {
    const Cell cell = *analyse(plan_, finished_).cell("full", 1000);
    return class_scores(plan_, finished_, cell, plan_.sets[0]);
  }

  StudyPlan plan_ = small_plan({"full", "head"}, {1000}, 2);
  FinishedTrials finished_;
};

TEST_F(ClassScores, AreThoseOfScikitLearn) {
  const auto file = std::filesystem::path(DTRAIN_REFERENCE_DIR) / "study" / "statistics.json";
  const auto reference = nlohmann::json::parse(read_file(file));
  for (const auto& expected : reference.at("class_metrics")) {
    SCOPED_TRACE(expected.at("name").get<std::string>());
    plan_.sets[0].labels = expected.at("truth").get<std::vector<std::int32_t>>();
    for (const std::uint64_t seed : {1, 2})
      answers(0, seed) = expected.at("predicted").get<std::vector<std::int32_t>>();
    const auto found = scores();
    const auto& classes = expected.at("classes");
    ASSERT_EQ(found.size(), classes.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].label, classes[i].at("label").get<std::int32_t>());
      EXPECT_EQ(found[i].examples, classes[i].at("support").get<std::int64_t>());
      EXPECT_NEAR(found[i].precision.mean, classes[i].at("precision").get<double>(), 1e-12);
      EXPECT_NEAR(found[i].recall.mean, classes[i].at("recall").get<double>(), 1e-12);
      EXPECT_NEAR(found[i].f1.mean, classes[i].at("f1").get<double>(), 1e-12);
      EXPECT_EQ(found[i].f1.half_width, 0) << "the seeds are alike";
    }
  }
}

TEST_F(ClassScores, AreMeansOverTheSeedsWithTheirInterval) {
  const auto found = scores();
  ASSERT_EQ(found.size(), 3U) << "nothing of the class that does not occur";
  // 2 * 2 / (3 + 2) and 2 * 3 / (3 + 4).
  EXPECT_NEAR(found[0].f1.mean, (0.8 + 6.0 / 7) / 2, 1e-12);
  EXPECT_NEAR(found[0].f1.half_width, mean_over_seeds({0.8, 6.0 / 7}).half_width, 1e-12);
  EXPECT_NEAR(found[1].recall.mean, (1 + 0.5) / 2, 1e-12);
  EXPECT_NEAR(found[1].precision.mean, (2.0 / 3 + 1) / 2, 1e-12);
  EXPECT_NEAR(found[2].f1.mean, 0.5, 1e-12);
}

TEST_F(ClassScores, StandInResultsJson) {
  const auto cells = results_json(report()).at("cells");
  const auto& body = cells.at(0).at("classes").at("test").at("body");
  EXPECT_EQ(body.at("examples"), 2);
  EXPECT_NEAR(body.at("recall").get<double>(), 0.75, 1e-12);
  EXPECT_EQ(body.at("f1").at("seeds"), 2);
  EXPECT_EQ(cells.at(0).at("classes").at("test").size(), 3U);
}

TEST_F(ClassScores, StandInATableOfThePage) {
  const Report made = report();
  const Table table = page::class_table(made, 1000);
  EXPECT_THAT(table.header, ElementsAre("class", "full", "head"));
  ASSERT_EQ(table.rows.size(), 3U);
  EXPECT_THAT(table.rows[2], ElementsAre("food (1)", HasSubstr("50.0 ± "), HasSubstr("50.0 ± ")));
  EXPECT_THAT(page::html_text({{&made, "study", {}}}),
              AllOf(HasSubstr("F1 of each class on test"), HasSubstr("body (2)")));
}

TEST_F(ClassScores, AreNoneOfMoreClassesThanATableIsReadOf) {
  for (const std::size_t classes : {kMostClassesOfScores, kMostClassesOfScores + 1}) {
    auto& labels = plan_.sets[0].labels;
    labels.resize(classes);
    std::iota(labels.begin(), labels.end(), 0);
    for (const std::uint64_t seed : {1, 2}) answers(0, seed) = labels;
    EXPECT_EQ(scores().size(), classes == kMostClassesOfScores ? classes : 0);
  }
}

TEST_F(ClassScores, AreNoneOfResultsThatKeptNoAnswers) {
  for (const std::size_t method : {0, 1}) {
    for (const std::uint64_t seed : {1, 2}) answers(method, seed).clear();
  }
  EXPECT_THAT(scores(), IsEmpty());
  EXPECT_EQ(results_json(report()).at("cells").at(0).at("classes"), nlohmann::json::object());
  EXPECT_THAT(page::class_table(report(), 1000).rows, IsEmpty());
}

}  // namespace
}  // namespace dtrain::study
