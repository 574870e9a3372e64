#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "base/log.h"
#include "study/figures/chart.h"
#include "study/figures/rows.h"
#include "study/findings/words.h"
#include "study/page/study_figures.h"
#include "train/objective.h"

namespace dtrain::study::page {
namespace {

using figures::Chart;
using figures::Point;
using figures::RowChart;
using figures::Series;

// Beyond this a loss is drawn on a logarithmic axis: what failed to learn would press the others into a line.
constexpr double kWideRange = 20;
// Measures of what was forgotten that are drawn; the others are in results.json.
constexpr std::size_t kMostMeasures = 6;

figures::Axis dev_axis(const std::string& metric, const std::vector<double>& values) {
  const std::string title = fmt::format("{} on dev ({} is better)", train::metric_kind(metric).title,
                                        train::larger_is_better(metric) ? "higher" : "lower");
  std::vector<double> finite;
  std::copy_if(values.begin(), values.end(), std::back_inserter(finite),
               [](double value) { return std::isfinite(value); });
  const auto [low, high] = std::minmax_element(finite.begin(), finite.end());
  if (!finite.empty() && *low > 0 && *high / *low > kWideRange)
    return figures::log_axis(title, finite, [](double value) { return fmt::format("{:g}", value); });
  return figures::linear_axis(title, finite);
}

// Behind another sentence.
std::string meaning(const std::string& metric) {
  const std::string text = metric_meaning(metric);
  return text.empty() ? "" : " " + text;
}

bool was_left(const Cell& cell, double rate) {
  return std::find(cell.left_rates.begin(), cell.left_rates.end(), rate) != cell.left_rates.end();
}

// The longest training of the search at a rate, which what became of the rate is marked at; null where none ended.
const SearchPoint* longest_at(const Cell& cell, double rate) {
  const SearchPoint* longest = nullptr;
  for (const SearchPoint& point : cell.search) {
    if (point.learning_rate == rate && std::isfinite(point.dev)) longest = &point;
  }
  return longest;
}

std::string edge_note(const Cell& cell) { return cell.at_low_edge || cell.at_high_edge ? "edge" : ""; }

// Rungs of the search that took a part of the steps are points without a line.
void add_search(const Cell& cell, std::size_t style, Chart& chart, std::vector<double>& rates,
                std::vector<double>& values, std::vector<std::string>& notes) {
  Series whole;
  whole.name = cell.method;
  whole.style = style;
  Series rungs = whole;
  rungs.line = false;
  for (const SearchPoint& point : cell.search) {
    if (!std::isfinite(point.dev)) {
      notes.push_back(fmt::format("{} failed at {}", cell.method, rate_text(point.learning_rate)));
      continue;
    }
    Point drawn{point.learning_rate, point.dev};
    const bool is_longest = &point == longest_at(cell, point.learning_rate);
    drawn.hollow = point.length < 1;
    drawn.chosen = is_longest && cell.learning_rate == point.learning_rate;
    drawn.struck = is_longest && was_left(cell, point.learning_rate);
    if (drawn.chosen) drawn.note = edge_note(cell);
    rates.push_back(drawn.x);
    values.push_back(drawn.y);
    (drawn.hollow ? rungs : whole).points.push_back(drawn);
  }
  for (const double rate : cell.left_rates) {
    if (longest_at(cell, rate) == nullptr)
      notes.push_back(fmt::format("{} at {}, which was left after its results", cell.method, rate_text(rate)));
  }
  if (whole.points.empty() && rungs.points.empty()) return;
  rungs.in_legend = whole.points.empty();
  if (cell.learning_rate && longest_at(cell, *cell.learning_rate) == nullptr) {
    (rungs.in_legend ? rungs : whole).choice = figures::Choice{*cell.learning_rate, edge_note(cell)};
    rates.push_back(*cell.learning_rate);
  }
  if (!rungs.points.empty()) chart.series.push_back(std::move(rungs));
  if (!whole.points.empty()) chart.series.push_back(std::move(whole));
}

// What the rings of a search's figure are.
std::string chosen_words(const Chart& chart) {
  const auto any = [&](auto holds) { return std::any_of(chart.series.begin(), chart.series.end(), holds); };
  const auto any_point = [&](auto holds) {
    return any([&](const Series& series) { return std::any_of(series.points.begin(), series.points.end(), holds); });
  };
  const bool trained = any_point([](const Point& point) { return point.chosen; });
  const bool inferred = any([](const Series& series) { return series.choice.has_value(); });
  const bool edge = any_point([](const Point& point) { return point.chosen && !point.note.empty(); }) ||
                    any([](const Series& series) { return series.choice && !series.choice->note.empty(); });
  std::string text;
  if (trained || inferred) text = "The ring is the rate that was chosen";
  if (inferred) {
    text += trained ? "; it is over the figure, with a line down from it, where "
                    : ". It is over the figure, with a line down from it: ";
    text += "the rate of whole trainings was inferred from shorter ones, and the search trained none at it";
  }
  if (!text.empty()) text += ".";
  if (edge)
    text += " \"edge\": the best was the last of the rates that may be tried, so that a better one may lie beyond.";
  if (any_point([](const Point& point) { return point.struck; }))
    text +=
        " Struck out: the search liked this rate best, but on dev the results at it were worse than at the lower "
        "one that was then chosen.";
  return text;
}

// The results of a method at a count, step by step: the mean of those seeds that were scored there, and their range.
std::vector<Point> mean_curve(const Report& report, const Cell& cell) {
  std::map<std::int64_t, std::vector<double>> steps;
  for (const auto& [key, trial] : report.finished) {
    const auto& [kind, outcome] = trial;
    if (kind.phase != Trial::Phase::result || kind.method != cell.method || kind.samples != cell.samples ||
        outcome.failed() || kind.learning_rate != cell.learning_rate)
      continue;
    for (const CurvePoint& point : outcome.curve) {
      const auto value = point.metrics.find(report.plan.select_metric);
      if (value != point.metrics.end() && std::isfinite(value->second)) steps[point.step].push_back(value->second);
    }
  }
  std::vector<Point> points;
  for (const auto& [step, values] : steps) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    double sum = 0;
    for (const double value : values) sum += value;
    points.push_back({static_cast<double>(step), sum / static_cast<double>(values.size()), *low, *high});
  }
  return points;
}

// What the pretrained model had, where that was measured and is one number for all; it is added to `kept`.
std::vector<figures::Level> before_training(const Report& report, const std::string& measure,
                                            std::vector<double>& kept) {
  std::set<double> before;
  for (const Cell& cell : report.findings.cells) {
    const auto mean = cell.forgetting.find(measure + "_before");
    if (mean != cell.forgetting.end()) before.insert(std::round(1e4 * mean->second.mean) / 1e4);
  }
  if (before.size() != 1) return {};
  kept.push_back(*before.begin());
  return {{*before.begin(), fmt::format("before training: {:.3g}", *before.begin())}};
}

std::optional<Figure> forgetting_figure(const Report& report, const std::string& measure) {
  const std::int64_t samples = answered_samples(report);
  const std::string& metric = report.plan.metric;
  Chart chart;
  std::vector<double> gains;
  std::vector<double> kept;
  for (const Cell& cell : report.findings.cells) {
    const auto of_test = cell.metrics.find("test");
    if (cell.samples != samples || of_test == cell.metrics.end() || of_test->second.count(metric) == 0) continue;
    const auto mean = cell.forgetting.find(measure);
    if (mean == cell.forgetting.end()) continue;
    Series series;
    series.name = cell.method;
    series.style = style_of(report.plan, cell.method);
    series.line = false;
    const SeedMean& kept_mean = mean->second;
    series.points = {{metric_scale(metric) * of_test->second.at(metric).mean, kept_mean.mean,
                      kept_mean.mean - kept_mean.half_width, kept_mean.mean + kept_mean.half_width}};
    gains.push_back(series.points[0].x);
    for (const double value : {kept_mean.mean, series.points[0].low, series.points[0].high}) kept.push_back(value);
    chart.series.push_back(std::move(series));
  }
  if (chart.series.empty()) return std::nullopt;
  const std::string words = forgetting_words(measure);
  chart.title = fmt::format("{} against {} on test", words, metric_words(metric));
  chart.description = fmt::format("With {} training examples, a point for each method.", count_text(samples));
  chart.x = figures::linear_axis(metric_axis(metric) + " on test", gains);
  chart.levels = before_training(report, measure, kept);
  chart.y = figures::linear_axis(words, kept);
  const std::string meaning = forgetting_meaning(measure);
  return Figure{
      fmt::format("Forgetting against gain: {}", words),
      fmt::format("{}{}To the {} what was learned, upwards what became of the pretrained model's own abilities, "
                  "with {} examples; bars are 95 % intervals over the seeds.",
                  meaning, meaning.empty() ? "" : " ", train::larger_is_better(metric) ? "right" : "left",
                  count_text(samples)),
      [chart](const std::string& id) { return figures::svg(chart, id); }};
}

}  // namespace

std::vector<Figure> search_figures(const Report& report) {
  std::vector<Figure> all;
  for (const std::int64_t samples : report.plan.samples) {
    Chart chart;
    std::vector<double> rates;
    std::vector<double> values;
    std::vector<std::string> notes;
    for (const Cell& cell : report.findings.cells) {
      if (cell.samples == samples) add_search(cell, style_of(report.plan, cell.method), chart, rates, values, notes);
    }
    if (chart.series.empty()) continue;
    chart.title =
        fmt::format("{} on dev against the learning rate", train::metric_kind(report.plan.select_metric).title);
    chart.description = fmt::format("With {} training examples, for each method.", count_text(samples));
    chart.x = figures::log_axis("learning rate (logarithmic)", rates, rate_text);
    chart.y = dev_axis(report.plan.select_metric, values);
    chart.marks.hollow = "after a part of the steps";
    chart.marks.chosen = "chosen";
    chart.marks.struck = "left after its results";
    all.push_back({fmt::format("The search for the learning rate, {} examples", count_text(samples)),
                   fmt::format("{}{}{}", chosen_words(chart), meaning(report.plan.select_metric),
                               notes.empty() ? "" : fmt::format(" Not drawn: {}.", listed(notes))),
                   [chart](const std::string& id) { return figures::svg(chart, id); }});
  }
  return all;
}

std::vector<Figure> curve_figures(const Report& report) {
  std::vector<Figure> all;
  for (const std::int64_t samples : report.plan.samples) {
    Chart chart;
    std::vector<double> steps;
    std::vector<double> values;
    for (const Cell& cell : report.findings.cells) {
      if (cell.samples != samples) continue;
      Series series;
      series.name = cell.method;
      series.style = style_of(report.plan, cell.method);
      series.points = mean_curve(report, cell);
      series.spread = Series::Spread::band;
      series.markers = series.points.size() <= 12;
      if (series.points.empty()) continue;
      for (const Point& point : series.points) {
        steps.push_back(point.x);
        for (const double value : {point.low, point.high}) values.push_back(value);
      }
      chart.series.push_back(std::move(series));
    }
    if (chart.series.empty()) continue;
    chart.title = fmt::format("{} on dev while training", train::metric_kind(report.plan.select_metric).title);
    chart.description = fmt::format("With {} training examples, a line for each method.", count_text(samples));
    chart.x = figures::linear_axis("step", steps, {0, INFINITY});
    chart.y = dev_axis(report.plan.select_metric, values);
    all.push_back(
        {fmt::format("Learning curves, {} examples", count_text(samples)),
         "At the chosen learning rate: the mean over the seeds, and the range from the lowest to the highest. "
         "The weights of each run's best step are kept." +
             meaning(report.plan.select_metric),
         [chart](const std::string& id) { return figures::svg(chart, id); }});
  }
  return all;
}

std::vector<Figure> forgetting_figures(const Report& report) {
  std::set<std::string> measures;
  for (const Cell& cell : report.findings.cells) {
    for (const auto& [measure, mean] : cell.forgetting) {
      if (!is_before(measure)) measures.insert(measure);
    }
  }
  std::vector<Figure> all;
  for (const std::string& measure : measures) {
    if (all.size() == kMostMeasures) break;
    if (auto figure = forgetting_figure(report, measure)) all.push_back(std::move(*figure));
  }
  return all;
}

std::vector<Figure> collapse_figures(const Report& report) {
  RowChart chart;
  for (const Cell& cell : report.findings.cells) {
    const auto lost = static_cast<std::int64_t>(cell.collapsed.size() + cell.failed.size());
    const auto runs = cell.ended + static_cast<std::int64_t>(cell.failed.size());
    if (lost == 0) continue;
    const Interval share = proportion_interval(lost, runs, 0.95);
    chart.rows.push_back({fmt::format("{}, {}", cell.method, count_text(cell.samples)),
                          style_of(report.plan, cell.method),
                          100 * static_cast<double>(lost) / static_cast<double>(runs), 100 * share.low,
                          100 * share.high, fmt::format("{} of {}", lost, runs)});
  }
  if (chart.rows.empty()) return {};
  chart.title = "Share of the runs that learned nothing";
  chart.description = "Methods and sample counts with such runs.";
  chart.bars = true;
  chart.x = figures::linear_axis("runs that collapsed or failed, %", {0, 100}, {0, 100});
  return {{"Runs that learned nothing",
           "Runs of the result that did no better than always giving one answer, or that failed; bars with "
           "exact 95 % intervals (Clopper and Pearson). Methods and sample counts without such runs are not shown.",
           [chart](const std::string& id) { return figures::svg(chart, id); }}};
}

}  // namespace dtrain::study::page
