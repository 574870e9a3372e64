#include <fmt/format.h>

#include <algorithm>
#include <cmath>
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

std::string whole_count(double samples) { return count_text(std::llround(samples)); }

const SeedMean* mean_of(const Cell& cell, const std::string& set, const std::string& metric) {
  const auto metrics = cell.metrics.find(set);
  if (metrics == cell.metrics.end()) return nullptr;
  const auto found = metrics->second.find(metric);
  return found == metrics->second.end() || !std::isfinite(found->second.mean) ? nullptr : &found->second;
}

// The sample counts at which there is a mean.
std::vector<double> counts_of(const Report& report, const std::string& set) {
  std::vector<double> counts;
  for (const Cell& cell : report.findings.cells) {
    const auto samples = static_cast<double>(cell.samples);
    if (mean_of(cell, set, report.plan.metric) != nullptr && (counts.empty() || counts.back() != samples))
      counts.push_back(samples);
  }
  return counts;
}

// The seeds behind a mean, as axes show them.
std::vector<figures::Dot> seeds_of(const Report& report, const Cell& cell, const std::string& set) {
  std::vector<figures::Dot> dots;
  for (const std::uint64_t seed : report.plan.seeds_of(cell.samples, cell.method)) {
    const TrialOutcome* outcome = result_of(report.finished, cell, seed);
    if (outcome == nullptr) continue;
    const double value = outcome->metric(set, report.plan.metric);
    const bool collapsed = std::count(cell.collapsed.begin(), cell.collapsed.end(), seed) > 0;
    if (std::isfinite(value))
      dots.push_back({metric_scale(report.plan.metric) * value, collapsed, fmt::format("seed {}", seed)});
  }
  return dots;
}

figures::MarkNames seed_marks() {
  figures::MarkNames names;
  names.dot = "each seed";
  names.crossed_dot = "collapsed seed";
  return names;
}

constexpr const char* kSeedsInCaption =
    "Small dots are the seeds, one training each; a cross is a seed that collapsed, which did no better than always "
    "giving one answer.";

// An axis around means, with all of the `shown` values. Of intervals only so much that the means stay apart: two seeds
// can have intervals of half the scale. `point`: what a point is on it.
figures::Axis axis_around(std::string title, const std::vector<double>& means, std::vector<double> ends,
                          figures::Limits limits, double point, const std::vector<double>& shown = {}) {
  if (means.empty()) return figures::linear_axis(std::move(title), ends, limits);
  const auto [low, high] = std::minmax_element(means.begin(), means.end());
  const double most = std::max(1.5 * (*high - *low), 4 * point);
  for (double& end : ends) end = std::clamp(end, *low - most, *high + most);
  ends.insert(ends.end(), means.begin(), means.end());
  ends.insert(ends.end(), shown.begin(), shown.end());
  return figures::linear_axis(std::move(title), ends, limits);
}

figures::Limits limits_of(const std::string& metric) {
  return train::metric_kind(metric).is_share ? figures::Limits{0, 100} : figures::Limits{};
}

double point_on_axis(const std::string& metric) { return metric_scale(metric) / 100; }

Point point_of(double x, const std::string& metric, const SeedMean& mean) {
  const double scale = metric_scale(metric);
  return {x, scale * mean.mean, scale * (mean.mean - mean.half_width), scale * (mean.mean + mean.half_width)};
}

void collect(const Point& point, std::vector<double>& means, std::vector<double>& ends) {
  means.push_back(point.y);
  for (const double end : {point.low, point.high}) {
    if (std::isfinite(end)) ends.push_back(end);
  }
}

// What knowing nothing has, where the metric is the one that it is known of.
std::vector<figures::Level> untrained(const StudyPlan& plan, const EvaluationSet& set) {
  if (plan.metric != train::objective_of(plan.problem_type).score_metric() || set.majority_share <= 0) return {};
  return {{100 * set.majority_share, fmt::format("always the same answer: {}", points(set.majority_share))}};
}

void collect(const std::vector<figures::Dot>& dots, std::vector<double>& values) {
  for (const figures::Dot& dot : dots) values.push_back(dot.value);
}

// How the caption says what a point is.
std::string means_words(const std::set<std::size_t>& seed_numbers) {
  return *seed_numbers.rbegin() > 1
             ? fmt::format("Means over {} with their 95 % intervals", seed_numbers_text(seed_numbers))
             : "Of one seed, which says nothing of others";
}

// How the caption says what the dotted line is.
std::string untrained_words(const std::vector<figures::Level>& levels) {
  return levels.empty() ? "" : " The dotted line is what always giving the most frequent answer reaches.";
}

// Intervals are bars side by side, not bands: where methods are close, bands lie over each other and are one grey
// without colour, the seeds of one hide those of another, and between the counts they show what nobody measured.
Figure quality_over_counts(const Report& report, const EvaluationSet& set, const std::vector<double>& counts) {
  const StudyPlan& plan = report.plan;
  std::set<std::size_t> seed_numbers;
  Chart chart;
  chart.title =
      fmt::format("{} {} against the number of training examples", metric_words(plan.metric), where(set.name));
  chart.description = fmt::format("A line for each method over {} sample counts.", counts.size());
  std::vector<double> means;
  std::vector<double> ends;
  std::vector<double> seeds;
  for (std::size_t i = 0; i < plan.methods.size(); ++i) {
    Series series;
    series.name = plan.methods[i].method.text();
    series.style = i;
    for (const double samples : counts) {
      const Cell* cell = report.findings.cell(series.name, std::llround(samples));
      const SeedMean* mean = cell == nullptr ? nullptr : mean_of(*cell, set.name, plan.metric);
      if (mean == nullptr) continue;
      seed_numbers.insert(static_cast<std::size_t>(mean->seeds));
      series.points.push_back(point_of(samples, plan.metric, *mean));
      series.points.back().dots = seeds_of(report, *cell, set.name);
      collect(series.points.back(), means, ends);
      collect(series.points.back().dots, seeds);
    }
    if (!series.points.empty()) chart.series.push_back(std::move(series));
  }
  chart.levels = untrained(plan, set);
  chart.marks = seed_marks();
  chart.x = figures::log_axis_at("training examples (logarithmic)", counts, whole_count);
  chart.y = axis_around(metric_axis(plan.metric), means, std::move(ends), limits_of(plan.metric),
                        point_on_axis(plan.metric), seeds);
  return {fmt::format("More data: {} {}", metric_words(plan.metric), where(set.name)),
          fmt::format("{} is better. {}; {} examples scored. {}{}",
                      train::larger_is_better(plan.metric) ? "Higher" : "Lower", means_words(seed_numbers),
                      count_text(set.examples), kSeedsInCaption, untrained_words(chart.levels)),
          [chart](const std::string& id) { return figures::svg(chart, id); }};
}

Figure quality_by_method(const Report& report, const EvaluationSet& set, std::int64_t samples) {
  const StudyPlan& plan = report.plan;
  std::set<std::size_t> seed_numbers;
  RowChart chart;
  chart.title = fmt::format("{} {} of each method", metric_words(plan.metric), where(set.name));
  chart.description = fmt::format("With {} training examples.", count_text(samples));
  std::vector<double> means;
  std::vector<double> ends;
  std::vector<double> seeds;
  for (const Cell& cell : report.findings.cells) {
    const SeedMean* mean = mean_of(cell, set.name, plan.metric);
    if (mean == nullptr || cell.samples != samples) continue;
    seed_numbers.insert(static_cast<std::size_t>(mean->seeds));
    const Point point = point_of(0, plan.metric, *mean);
    chart.rows.push_back({cell.method, style_of(plan, cell.method), point.y, point.low, point.high,
                          std::isfinite(mean->half_width) ? fmt::format("{} ± {}", value_text(plan.metric, mean->mean),
                                                                        value_text(plan.metric, mean->half_width))
                                                          : value_text(plan.metric, mean->mean)});
    chart.rows.back().dots = seeds_of(report, cell, set.name);
    collect(point, means, ends);
    collect(chart.rows.back().dots, seeds);
  }
  chart.marks = seed_marks();
  chart.x = axis_around(metric_axis(plan.metric), means, std::move(ends), limits_of(plan.metric),
                        point_on_axis(plan.metric), seeds);
  for (const auto& level : untrained(plan, set)) chart.levels.push_back(level);
  return {
      fmt::format("{} {} with {} training examples", metric_words(plan.metric), where(set.name), count_text(samples)),
      fmt::format("Further {} is better. {}; {} examples scored. {}{}",
                  train::larger_is_better(plan.metric) ? "right" : "left", means_words(seed_numbers),
                  count_text(set.examples), kSeedsInCaption, untrained_words(chart.levels)),
      [chart](const std::string& id) { return figures::svg(chart, id); }};
}

// Methods but for the reference, with what they are better by in points, in the plan's order.
std::vector<Series> differences(const Report& report, const std::string& set, const std::vector<double>& counts,
                                std::vector<double>& means, std::vector<double>& ends) {
  const std::string reference = reference_method(report.plan);
  std::vector<Series> all;
  for (std::size_t i = 0; i < report.plan.methods.size(); ++i) {
    Series series;
    series.name = report.plan.methods[i].method.text();
    series.style = i;
    if (series.name == reference) continue;
    for (const double samples : counts) {
      const auto comparison = report.findings.compare(set, std::llround(samples), series.name, reference);
      if (!comparison) continue;
      const Interval interval = comparison->difference.interval(0.95);
      series.points.push_back({samples, 100 * comparison->difference.mean, 100 * interval.low, 100 * interval.high});
      series.points.back().hollow = !comparison->shown();
      collect(series.points.back(), means, ends);
    }
    if (!series.points.empty()) all.push_back(std::move(series));
  }
  return all;
}

// The ends of what the axis must show besides: the margin, and no difference.
void add_margin(const StudyPlan& plan, std::vector<double>& ends) {
  for (const double end : {-100 * plan.margin, 100 * plan.margin, 0.0}) ends.push_back(end);
}

// "full" taken from each method; of a metric of which less is better the other way round.
std::string subtraction(const StudyPlan& plan, const std::string& reference) {
  return train::larger_is_better(plan.metric) ? fmt::format("Each method minus {}", reference)
                                              : fmt::format("{} minus each method", reference);
}

std::string margin_name(const StudyPlan& plan) { return fmt::format("within ±{} points", points(plan.margin)); }

Figure difference_figure(const Report& report, const EvaluationSet& set, const std::vector<double>& counts,
                         std::vector<Series> series, const std::vector<double>& means, std::vector<double> ends) {
  const StudyPlan& plan = report.plan;
  const std::string reference = reference_method(plan);
  add_margin(plan, ends);
  const auto axis = axis_around(fmt::format("points of {} {} than {}", metric_words(plan.metric),
                                            train::larger_is_better(plan.metric) ? "more" : "less", reference),
                                means, std::move(ends), {}, 1);
  const std::string title = fmt::format("Difference to {} {}", reference, where(set.name));
  std::vector<std::int64_t> at;
  for (const double samples : counts) at.push_back(std::llround(samples));
  const std::string pairs = all_pairs(report.findings, set.name, at);
  const std::string caption = fmt::format(
      "Zero is {}. Bars are 95 % intervals from seeds and examples, of each pair alone; a method whose bar stays above "
      "the lower edge of the grey range loses no more than {} points to {}. {} A bar that ends at the frame goes on "
      "beyond it. Differences are over the seeds that both methods ran.",
      reference, points(plan.margin), reference,
      pairs.empty() ? "A hollow point is a difference that is not shown."
                    : fmt::format("A hollow point is a difference that is not shown over {} of its sample count, of "
                                  "which some look different by chance, even where its own bar leaves out zero.",
                                  pairs));
  const std::string hollow = pairs.empty() ? "not shown" : "not shown over " + pairs;
  const figures::Zone zone{-100 * plan.margin, 100 * plan.margin, margin_name(plan)};
  if (counts.size() > 1) {
    Chart chart;
    chart.title = title;
    chart.description = fmt::format("{}, in points, over the sample counts.", subtraction(plan, reference));
    chart.series = std::move(series);
    chart.x = figures::log_axis_at("training examples (logarithmic)", counts, whole_count);
    chart.y = axis;
    chart.zones = {zone};
    chart.levels = {{0, reference}};
    chart.marks.hollow = hollow;
    return {title, caption, [chart](const std::string& id) { return figures::svg(chart, id); }};
  }
  RowChart chart;
  chart.title = title;
  chart.description = fmt::format("{}, in points.", subtraction(plan, reference));
  for (const Series& method : series) {
    const Point& point = method.points[0];
    chart.rows.push_back({method.name, method.style, point.y, point.low, point.high,
                          std::isfinite(point.low) ? fmt::format("{} ({} to {})", signed_points(point.y / 100),
                                                                 points(point.low / 100), points(point.high / 100))
                                                   : signed_points(point.y / 100),
                          point.hollow});
  }
  chart.marks.hollow = hollow;
  chart.x = axis;
  chart.zones = {zone};
  chart.levels = {{0, ""}};
  return {title, caption, [chart](const std::string& id) { return figures::svg(chart, id); }};
}

}  // namespace

std::vector<Figure> quality_figures(const Report& report) {
  std::vector<Figure> all;
  for (const EvaluationSet& set : report.plan.sets) {
    const auto counts = counts_of(report, set.name);
    if (counts.size() > 1) all.push_back(quality_over_counts(report, set, counts));
    if (counts.size() == 1) all.push_back(quality_by_method(report, set, std::llround(counts[0])));
  }
  return all;
}

std::vector<Figure> difference_figures(const Report& report) {
  std::vector<Figure> all;
  for (const EvaluationSet& set : report.plan.sets) {
    std::vector<double> means;
    std::vector<double> ends;
    const auto counts = counts_of(report, set.name);
    auto series = differences(report, set.name, counts, means, ends);
    if (!series.empty())
      all.push_back(difference_figure(report, set, counts, std::move(series), means, std::move(ends)));
  }
  return all;
}

std::vector<Figure> cost_figures(const Report& report) {
  const StudyPlan& plan = report.plan;
  const std::int64_t samples = answered_samples(report);
  Chart chart;
  std::vector<double> seconds;
  std::vector<double> means;
  std::vector<double> ends;
  std::vector<Point> points;
  for (const Cell& cell : report.findings.cells) {
    const SeedMean* mean = mean_of(cell, "test", plan.metric);
    if (cell.samples != samples || mean == nullptr || !(cell.cost.train_seconds > 0)) continue;
    Series series;
    series.name = cell.method;
    series.style = style_of(plan, cell.method);
    series.line = false;
    series.points = {point_of(cell.cost.train_seconds, plan.metric, *mean)};
    collect(series.points[0], means, ends);
    seconds.push_back(cell.cost.train_seconds);
    points.push_back(series.points[0]);
    chart.series.push_back(std::move(series));
  }
  if (points.size() < 2) return {};
  Series front;
  front.name = "Pareto front";
  front.front = true;
  front.markers = front.in_legend = false;
  std::sort(points.begin(), points.end(), [](const Point& left, const Point& right) { return left.x < right.x; });
  for (const Point& point : points) {
    if (front.points.empty() || train::merit(plan.metric, point.y) > train::merit(plan.metric, front.points.back().y))
      front.points.push_back({point.x, point.y});
  }
  const bool one = front.points.size() == 1;
  const bool up = train::larger_is_better(plan.metric);
  chart.series.insert(chart.series.begin(), std::move(front));
  chart.title = fmt::format("{} on test against seconds of training", metric_words(plan.metric));
  chart.description = fmt::format("With {} training examples, a point for each method.", count_text(samples));
  chart.x = figures::log_axis("seconds of training (logarithmic)", seconds,
                              [](double value) { return fmt::format("{:g}", value); });
  chart.y =
      axis_around(metric_axis(plan.metric), means, std::move(ends), limits_of(plan.metric), point_on_axis(plan.metric));
  return {
      {fmt::format("What training costs, and what it gives, with {} examples", count_text(samples)),
       fmt::format("{} and to the left is better. ", up ? "Up" : "Down") +
           (one ? "One method is both the fastest and the best of them."
                : fmt::format("The dotted line is the Pareto front: a method {} it is slower than one that is at least "
                              "as good.",
                              up ? "below" : "above")),
       [chart](const std::string& id) { return figures::svg(chart, id); }}};
}

}  // namespace dtrain::study::page
