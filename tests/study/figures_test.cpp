#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "study/figures/axis.h"
#include "study/figures/chart.h"
#include "study/figures/markup.h"
#include "study/figures/rows.h"
#include "study/figures/style.h"
#include "study/figures/timeline.h"
#include "tests/study/study_case.h"

namespace dtrain::study::figures {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(Ticks, AreMultiplesOfOneTwoOrFive) {
  EXPECT_THAT(linear_ticks(0, 1, 6), ElementsAre(0, 0.2, 0.4, testing::DoubleNear(0.6, 1e-12), 0.8, 1));
  // Heckbert's own example: 105 to 543 in about five steps.
  EXPECT_THAT(linear_ticks(105, 543, 5), ElementsAre(200, 300, 400, 500));
  EXPECT_THAT(linear_ticks(-3.2, 4.1, 6), ElementsAre(-3, -2, -1, 0, 1, 2, 3, 4));
  EXPECT_THAT(linear_ticks(7, 7, 5), ElementsAre(7));
}

TEST(Ticks, LieWithinTheRangeEvenlyAndAreAboutAsManyAsWanted) {
  SplitMix64 random(5);
  for (int i = 0; i < 2000; ++i) {
    const double low = (uniform(random) - 0.5) * std::pow(10, 12 * uniform(random) - 6);
    const double high = low + std::pow(10, 12 * uniform(random) - 6);
    const auto ticks = linear_ticks(low, high, 6);
    const double range = high - low;
    ASSERT_GE(ticks.size(), 2U) << low << " to " << high;
    ASSERT_LE(ticks.size(), 12U) << low << " to " << high;
    const double step = ticks[1] - ticks[0];
    for (std::size_t k = 0; k < ticks.size(); ++k) {
      ASSERT_GE(ticks[k], low - 1e-8 * range);
      ASSERT_LE(ticks[k], high + 1e-8 * range);
      if (k > 0) {
        ASSERT_NEAR(ticks[k] - ticks[k - 1], step, 1e-6 * step + 1e-9 * std::abs(low));
      }
    }
    const double leading = step / std::pow(10, std::floor(std::log10(step) + 1e-6));
    ASSERT_TRUE(std::abs(leading - 1) < 1e-3 || std::abs(leading - 2) < 1e-3 || std::abs(leading - 5) < 1e-3) << step;
  }
}

TEST(Ticks, HaveLabelsThatTellThemApart) {
  EXPECT_THAT(tick_labels({0, 0.5, 1}), ElementsAre("0.0", "0.5", "1.0"));
  EXPECT_THAT(tick_labels({200, 300}), ElementsAre("200", "300"));
  EXPECT_THAT(tick_labels({0.0002, 0.0004}), ElementsAre("0.0002", "0.0004"));
  const auto labels = tick_labels(linear_ticks(0.9991, 0.9999, 6));
  EXPECT_EQ(std::set<std::string>(labels.begin(), labels.end()).size(), labels.size());
}

TEST(Ticks, OfALogarithmicAxisAreAsDenseAsThereIsRoom) {
  EXPECT_THAT(log_ticks(1, 1e5, 6), ElementsAre(1, 10, 100, 1000, 1e4, 1e5));
  EXPECT_THAT(log_ticks(0.8, 40, 6), ElementsAre(1, 2, 5, 10, 20));
  EXPECT_THAT(log_ticks(1e-5, 2e-3, 6), ElementsAre(testing::DoubleNear(1e-5, 1e-15), testing::DoubleNear(3e-5, 1e-15),
                                                    testing::DoubleNear(1e-4, 1e-15), testing::DoubleNear(3e-4, 1e-15),
                                                    testing::DoubleNear(1e-3, 1e-15)));
  EXPECT_THAT(log_ticks(1, 1e12, 5), ElementsAre(1, 1e3, 1e6, 1e9, 1e12));
  EXPECT_THAT(log_ticks(21, 29, 6), ElementsAre(22, 24, 26, 28));
}

TEST(Ticks, OfNoRangeAreAMistake) {
  EXPECT_THROW(linear_ticks(2, 1, 5), std::invalid_argument);
  EXPECT_THROW(linear_ticks(0, INFINITY, 5), std::invalid_argument);
  EXPECT_THROW(log_ticks(0, 1, 5), std::invalid_argument);
}

TEST(Axis, GoesAroundItsValuesWithinItsLimits) {
  const Axis axis = linear_axis("share", {10, 90, NAN}, {0, 100});
  EXPECT_DOUBLE_EQ(axis.low, 6);
  EXPECT_DOUBLE_EQ(axis.high, 94);
  EXPECT_DOUBLE_EQ(axis.position(50), 0.5);
  EXPECT_EQ(linear_axis("share", {1, 99}, {0, 100}).low, 0);
  const Axis logarithmic =
      log_axis_at("N", {100, 10000, 1000}, [](double value) { return std::to_string(int(value)); });
  EXPECT_DOUBLE_EQ(logarithmic.position(1000), 0.5);
  EXPECT_EQ(logarithmic.ticks.size(), 3U);
}

TEST(Axis, OfOneValueOrNoneIsStillAnAxis) {
  for (const Axis& axis :
       {linear_axis("x", {}), linear_axis("x", {3}), linear_axis("x", {100}, {0, 100}),
        log_axis("x", {}, [](double) { return ""; }), log_axis("x", {5}, [](double) { return ""; })}) {
    EXPECT_LT(axis.low, axis.high);
    EXPECT_FALSE(axis.ticks.empty());
    EXPECT_TRUE(std::isfinite(axis.position(axis.low)));
  }
}

TEST(Markup, EscapesWhatAnXmlDocumentMustNotHold) {
  EXPECT_EQ(escaped("<b a=\"1\" c='2'>&</b>"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;&lt;/b&gt;");
  EXPECT_EQ(escaped(std::string("a\0b\x1b[1m\n", 8)),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD[1m\n");
  EXPECT_EQ(escaped("\xff\xc3(\xEF\xBF\xBF é"), "\xEF\xBF\xBD\xEF\xBF\xBD(\xEF\xBF\xBD é");
}

TEST(Markup, WritesCoordinatesShortly) {
  EXPECT_EQ(coordinate(3), "3");
  EXPECT_EQ(coordinate(-0.001), "0");
  EXPECT_EQ(coordinate(1.256), "1.26");
  EXPECT_THROW(coordinate(NAN), std::invalid_argument);
}

TEST(Markup, ShortensByCharactersNotBytes) {
  EXPECT_EQ(shortened("ééééé", 5), "ééééé");
  EXPECT_EQ(shortened("éééééé", 5), "ééé…é");
  EXPECT_EQ(shortened("日本語クラス", 8), "日本…ス");
}

TEST(Markup, KeepsBothEndsOfALongName) {
  EXPECT_EQ(shortened("lora:target_modules=all-linear:r=16", 24), "lora:target_modu…ar:r=16");
  EXPECT_EQ(shortened("a class with a very long name (20)", 24), "a class with a v…me (20)");
}

TEST(Markup, GivesWideCharactersTheirRoom) { EXPECT_EQ(text_width("日本", 12), text_width("four", 12)); }

TEST(Style, TellsSeriesApartWithoutColour) {
  std::set<std::pair<std::string, std::string>> looks;
  for (std::size_t i = 0; i < 49; ++i) {
    std::string shape = marker(i, 0, 0, 1, false, "");
    shape.erase(shape.find("series-"), 8);
    EXPECT_TRUE(looks.emplace(shape, dash_attribute(i)).second) << i;
  }
}

Chart small_chart() {
  Chart chart;
  chart.title = "accuracy <of> a & b";
  chart.description = "Two lines.";
  chart.x = log_axis_at("N", {100, 1000}, [](double value) { return std::to_string(int(value)); });
  chart.y = linear_axis("accuracy, %", {40, 60});
  chart.series = {{"a", 0, {{100, 41, 40, 42}, {1000, 59, -1000, 1000}}}, {"<b>", 1, {{100, 45}, {1000, NAN}}}};
  return chart;
}

TEST(Chart, SaysInWordsWhatItShows) {
  const std::string text = svg(small_chart(), "figure-7");
  EXPECT_THAT(text, HasSubstr("role=\"img\" aria-labelledby=\"figure-7-title figure-7-desc\""));
  EXPECT_THAT(text, HasSubstr("<title id=\"figure-7-title\">accuracy &lt;of&gt; a &amp; b</title>"));
  EXPECT_THAT(text, HasSubstr("a: 41 at 100 (40 to 42), 59 at 1000 (-1000 to 1000). &lt;b&gt;: 45 at 100."));
  EXPECT_THAT(text, Not(HasSubstr("nan")));
  EXPECT_THAT(text, Not(HasSubstr("<b>")));
}

TEST(Axis, IsWidenedOnBothSidesByAShareOfItsRange) {
  const Axis axis = widened(linear_axis("share", {0, 10}, {0, 10}), 0.1);
  EXPECT_DOUBLE_EQ(axis.low, -1);
  EXPECT_DOUBLE_EQ(axis.high, 11);
  const Axis counts = log_axis_at("N", {100, 10000}, [](double value) { return std::to_string(int(value)); });
  EXPECT_NEAR(widened(counts, 0.5).position(counts.low), 0.25, 1e-12);
}

// What stands behind `mark` in each of its elements, as numbers.
std::vector<double> numbers_of(const std::string& text, const std::string& mark) {
  std::vector<double> numbers;
  for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1))
    numbers.push_back(std::stod(text.substr(at + mark.size())));
  return numbers;
}

TEST(Chart, DrawsWhatAMeanIsOfBesideIt) {
  Chart chart = small_chart();
  const std::string plain = svg(chart, "f");
  EXPECT_THAT(plain, Not(HasSubstr("class=\"dot")));
  chart.series[0].points[0].dots = {{40.5, false, "seed 1"}, {59, true, "seed <2>"}, {NAN, false, "seed 3"}};
  chart.marks.dot = "each seed";
  chart.marks.crossed_dot = "collapsed";
  const std::string text = svg(chart, "f");
  EXPECT_THAT(text, HasSubstr("41 at 100 (40 to 42) [each seed: 40.5, 59 (collapsed)],"));
  EXPECT_THAT(text, HasSubstr("class=\"dot series-0\"><title>a, seed 1: 40.5</title></circle>"));
  EXPECT_THAT(text, HasSubstr("class=\"cross series-0\"><title>a, seed &lt;2&gt;: 59</title></path>"));
  EXPECT_THAT(text, AllOf(HasSubstr(">each seed</text>"), HasSubstr(">collapsed</text>")));
}

TEST(Chart, HasRoomForTheSeriesThatStandSideBySide) {
  Chart chart = small_chart();
  chart.series.clear();
  for (std::size_t i = 0; i < 20; ++i)
    chart.series.push_back(
        {"m", 0, {{100, 50, 49, 51, false, false, false, {}, {{50, false, "x"}}}, {1000, 50, 49, 51}}});
  const std::string text = svg(chart, "f");
  const auto frame = numbers_of(text, "<rect x=\"");
  const auto width = numbers_of(text, "\" width=\"");
  ASSERT_EQ(frame.size(), 1U);
  const std::string drawn = text.substr(text.find("</g>"));
  const auto places = numbers_of(drawn, "<circle cx=\"");
  ASSERT_EQ(places.size(), 60U) << "a mean at each count, and the dots at one";
  EXPECT_GE(*std::min_element(places.begin(), places.end()), frame[0]);
  EXPECT_LE(*std::max_element(places.begin(), places.end()), frame[0] + width[0]);
  EXPECT_EQ(std::set<double>(places.begin(), places.end()).size(), 60U) << "none hides another";
}

TEST(Chart, NamesItsMarks) {
  Chart chart = small_chart();
  chart.marks = {"not shown", "chosen", "left", "", ""};
  EXPECT_THAT(svg(chart, "f"), Not(HasSubstr("not shown"))) << "none occurs";
  chart.series[0].points[0].hollow = chart.series[0].points[0].struck = true;
  chart.series[1].points[0].chosen = true;
  const std::string text = svg(chart, "f");
  EXPECT_THAT(text, AllOf(HasSubstr("(40 to 42) [left] [not shown],"), HasSubstr("45 at 100 [chosen].")));
  EXPECT_THAT(text, AllOf(HasSubstr(">not shown</text>"), HasSubstr(">chosen</text>"), HasSubstr(">left</text>")));
  EXPECT_THAT(text, AllOf(HasSubstr("class=\"strike\""), HasSubstr("class=\"ring\"")));
}

TEST(Chart, RingsOverItsFrameWhatWasChosenWhereNoPointIs) {
  Chart chart = small_chart();
  chart.marks.chosen = "chosen";
  const auto top_of = [](const std::string& text) {
    return numbers_of(text.substr(text.find("<clipPath")), "\" y=\"")[0];
  };
  const double top = top_of(svg(chart, "f"));
  chart.series[0].choice = Choice{300};
  chart.series[1].choice = Choice{310, "<edge>"};
  const std::string text = svg(chart, "f");
  EXPECT_THAT(text, HasSubstr("59 at 1000 (-1000 to 1000), chosen: 300, where no point is. &lt;b&gt;: 45 at 100, "
                              "chosen: 310, where no point is [&lt;edge&gt;].</desc>"));
  EXPECT_THAT(text, AllOf(HasSubstr(">chosen</text>"), HasSubstr(">&lt;edge&gt;</text>"),
                          HasSubstr("<title>a: chosen, 300</title>")));
  // In the legend, and of each series; side by side they would hide each other.
  std::vector<double> rings;
  for (std::size_t at = text.find("class=\"ring\""); at != std::string::npos; at = text.find("class=\"ring\"", at + 1))
    rings.push_back(numbers_of(text.substr(text.rfind("<circle", at), 60), " cy=\"").at(0));
  const double frame = top_of(text);
  ASSERT_EQ(rings.size(), 3U);
  EXPECT_GT(frame, top + 30) << "two rows";
  EXPECT_LT(rings[1], frame - 7.6);
  EXPECT_LT(rings[2], rings[1] - 15);
  const std::string line = text.substr(text.find("class=\"choice series-1\"") - 40, 40);
  EXPECT_THAT(line, HasSubstr(coordinate(rings[2]) + "V" + coordinate(frame + 200))) << "down to the axis";
}

TEST(Chart, LeavesOutPointsBeyondItsFrame) {
  Chart chart = small_chart();
  const auto markers = [](const std::string& text) {
    std::size_t count = 0;
    for (std::size_t at = text.find("class=\"marker"); at != std::string::npos;
         at = text.find("class=\"marker", at + 1))
      ++count;
    return count;
  };
  const std::size_t before = markers(svg(chart, "f"));
  chart.series[0].points[0].y = 95;
  EXPECT_EQ(markers(svg(chart, "f")), before - 1);
}

TEST(RowChart, ShowsEachRowWithItsValueInWords) {
  RowChart chart;
  chart.title = "differences";
  chart.x = linear_axis("points", {-3, 2});
  chart.rows = {{"head", 1, -2.5, -3, NAN, "-2.5"}, {"lora", 2, 1, 0.5, 1.5, "+1.0 (0.5 to 1.5)"}};
  chart.bars = true;
  const std::string text = svg(chart, "f");
  EXPECT_THAT(text, HasSubstr(">+1.0 (0.5 to 1.5)</text>"));
  EXPECT_THAT(text, HasSubstr("head: -2.5. lora: +1.0 (0.5 to 1.5).</desc>"));
}

TEST(RowChart, DrawsWhatAMeanIsOfUnderIt) {
  RowChart chart;
  chart.title = "means";
  chart.x = linear_axis("points", {-3, 2});
  chart.rows = {{"head", 1, -2.5, -3, NAN, "-2.5", true, {{-2, false, "seed 1"}, {1, true, "seed 2"}}}};
  chart.marks = {"not shown", "", "", "each seed", "collapsed"};
  const std::string text = svg(chart, "f");
  EXPECT_THAT(text, HasSubstr("head: -2.5 [each seed: -2, 1 (collapsed)] [not shown].</desc>"));
  EXPECT_THAT(text, AllOf(HasSubstr("class=\"dot series-1\"><title>head, seed 1: -2</title>"),
                          HasSubstr("class=\"cross series-1\"><title>head, seed 2: 1</title>")));
  EXPECT_THAT(text, HasSubstr("class=\"marker hollow series-1\""));
  EXPECT_THAT(text,
              AllOf(HasSubstr(">not shown</text>"), HasSubstr(">each seed</text>"), HasSubstr(">collapsed</text>")));
}

TEST(Timeline, DrawsSpansInTheirLanes) {
  Timeline timeline;
  timeline.title = "plan";
  timeline.axis = "seconds";
  timeline.lanes = {"group 0", "group 1"};
  timeline.spans = {{0, 0, 10, 0, false, "a"}, {1, 5, 10, 1, true, "b"}};
  timeline.kinds = {{"full", 0, false}};
  EXPECT_THAT(svg(timeline, "f"), HasSubstr("<title>b</title></rect>"));
  timeline.spans.push_back({2, 0, 1, 0, false, "c"});
  EXPECT_THROW(svg(timeline, "f"), std::invalid_argument);
}

}  // namespace
}  // namespace dtrain::study::figures
