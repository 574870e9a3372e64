#include "study/page/diagnosis_figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "study/figures/waterfall.h"
#include "study/page/page.h"
#include "study/report/report.h"
#include "tests/study/diagnosis_case.h"
#include "tests/study/study_case.h"

namespace dtrain::study {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// Where the bars of a figure begin and end, from left to right, in the order of the rows.
std::vector<std::pair<double, double>> bars_of(const std::string& text) {
  std::vector<std::pair<double, double>> bars;
  const std::string begin = "<rect x=\"";
  const std::string width = "\" width=\"";
  for (std::size_t at = text.find(begin); at != std::string::npos; at = text.find(begin, at + 1)) {
    const double left = std::stod(text.substr(at + begin.size()));
    bars.emplace_back(left, left + std::stod(text.substr(text.find(width, at) + width.size())));
  }
  return bars;
}

std::string drawn_steps(const Diagnosis& diagnosis) { return page::diagnosis_figures(diagnosis).at(0).draw("f"); }

TEST(StepFigure, SaysWhatEachChoiceGains) {
  EXPECT_THAT(drawn_steps(known_diagnosis()),
              AllOf(HasSubstr("as asked: 20.0. learning rate 0.03: +25.0 ("),
                    HasSubstr("[not told apart from nothing]. pooling mean: +15.0 ("),
                    HasSubstr("layer 1, mean: -2.0 ("), HasSubstr("beyond any linear head: +12.0 ("),
                    HasSubstr("full fine-tuning: 70.0. lora: 67.0 (-3.0 to full).</desc>")));
}

TEST(StepFigure, GoesOnFromWhereTheLastStepEnded) {
  const auto bars = bars_of(drawn_steps(known_diagnosis()));
  ASSERT_EQ(bars.size(), 6U) << "five choices and a method";
  constexpr double kRounding = 0.03;
  const auto &rate = bars[0], &training = bars[1], &pooling = bars[2], &layer = bars[3], &head = bars[4];
  const auto& lora = bars[5];
  EXPECT_NEAR(training.first, rate.second, kRounding);
  EXPECT_NEAR(pooling.first, rate.second, kRounding);
  EXPECT_NEAR(layer.second, pooling.second, kRounding) << "a loss goes to the left";
  EXPECT_NEAR(head.first, layer.first, kRounding);
  EXPECT_NEAR(lora.first, layer.first, kRounding) << "from the best linear head";
  EXPECT_NEAR((lora.second - lora.first) / (head.second - head.first), 9.0 / 12, 0.01);
}

TEST(StepFigure, NamesAMethodThatFailed) {
  Diagnosis diagnosis = known_diagnosis();
  diagnosis.rows.back().failure = "the loss is not finite";
  const std::string text = drawn_steps(diagnosis);
  EXPECT_THAT(text, HasSubstr("lora: failed.</desc>"));
  EXPECT_EQ(bars_of(text).size(), 5U);
}

TEST(Waterfall, EscapesNamesAndStaysInItsFrame) {
  figures::Waterfall waterfall;
  waterfall.title = "steps";
  waterfall.x = figures::linear_axis("points", {0, 10});
  waterfall.rows = {{"<b>", 5}, {"far", 1000, 5, -1000, 2000}};
  const std::string text = figures::svg(waterfall, "f");
  EXPECT_THAT(text, AllOf(HasSubstr("&lt;b&gt;"), Not(HasSubstr("<b>")), Not(HasSubstr("nan"))));
  for (const auto& [begin, end] : bars_of(text)) EXPECT_LE(end, 620);
}

TEST(ProbeFigure, HasALineForWhatWasTrained) {
  const std::string text = page::diagnosis_figures(known_diagnosis()).at(1).draw("f");
  EXPECT_THAT(text, AllOf(HasSubstr("probe, mean: 58 at 1 ("), HasSubstr("[the best on dev]"),
                          HasSubstr("full fine-tuning: 70 at 0, 70 at 1."), HasSubstr("head as asked: 20 at 0")));
}

TEST(ProbeFigure, AloneHasItsColoursForLightAndDark) {
  const std::string text = page::probe_svg(known_diagnosis());
  EXPECT_THAT(text, AllOf(testing::StartsWith("<svg xmlns=\"http://www.w3.org/2000/svg\""), HasSubstr("--series-0:"),
                          HasSubstr("prefers-color-scheme: dark"), HasSubstr("background: var(--page)")));
}

TEST(PageOfADiagnosis, HasItsWordsFiguresAndRows) {
  StudyPlan plan = small_plan({"full", "head"}, {100});
  FinishedTrials finished;
  finish_method(finished, plan, 0, 100, 700, 300, 30);
  finish_method(finished, plan, 1, 100, 500, 300, 3);
  const Report report = make_report(plan, finished);
  EXPECT_THAT(page::html_text({{&report, "study", {}}}), Not(HasSubstr("Why a frozen body is worse")));
  Diagnosis diagnosis = known_diagnosis();
  diagnosis.rows[0].title = "<as & asked>";
  const std::string text = page::html_text({{&report, "study", diagnosis}});
  EXPECT_THAT(text, AllOf(HasSubstr("Why a frozen body is worse"), HasSubstr("a gap of 50.0 points"),
                          HasSubstr("Which choice costs what"), HasSubstr("What each layer knows"),
                          HasSubstr("<td>&lt;as &amp; asked&gt;</td><td class=\"number\">20.0 ("),
                          HasSubstr("0 (embeddings)")));
  // Its own colours are the page's: none are fixed.
  const std::size_t begin = text.find("Why a frozen body is worse</h2>");
  EXPECT_EQ(text.substr(begin, text.find("</section>", begin) - begin).find("fill=\"#"), std::string::npos);
}

}  // namespace
}  // namespace dtrain::study
