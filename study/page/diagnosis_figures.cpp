#include "study/page/diagnosis_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "study/figures/chart.h"
#include "study/figures/waterfall.h"
#include "study/findings/words.h"

namespace dtrain::study::page {
namespace {

using figures::Chart;
using figures::Point;
using figures::Series;
using figures::Waterfall;
using figures::WaterfallRow;

// Layers that have a tick of their own.
constexpr int kMostTicks = 12;
// The lines of what was trained, after those of the three poolings.
constexpr std::size_t kFullStyle = 3;
constexpr std::size_t kAskedStyle = 4;

// A choice as the name of a row.
std::string choice_name(const Diagnosis& diagnosis, const std::string& choice) {
  if (choice == "learning_rate")
    return fmt::format("learning rate {}", rate_text(*diagnosis.row("rate").learning_rate));
  if (choice == "training") return "trained to its optimum";
  if (choice == "pooling") return fmt::format("pooling {}", pooling_name(diagnosis.row("pooling").pooling));
  if (choice == "layer") {
    const StageProbe& best = diagnosis.best_probe();
    return fmt::format("layer {}, {}", best.stage, pooling_name(best.pooling));
  }
  return "beyond any linear head";
}

std::string signed_with_interval(const ShareEstimate& estimate) {
  return fmt::format("{} ({} to {})", signed_points(estimate.value), points(estimate.interval.low),
                     points(estimate.interval.high));
}

// In percent.
WaterfallRow level_of(const std::string& name, const DiagnosisRow& row) {
  WaterfallRow level{name, 100 * row.accuracy.value};
  level.low = 100 * row.accuracy.interval.low;
  level.high = 100 * row.accuracy.interval.high;
  level.text = points(row.accuracy.value);
  return level;
}

// From the best linear head to what the method reaches.
WaterfallRow method_of(const Diagnosis& diagnosis, const DiagnosisRow& row) {
  WaterfallRow method{row.method, std::nan("")};
  method.text = "failed";
  if (!row.failure.empty()) return method;
  const double full = diagnosis.row("full").accuracy.value;
  method.from = 100 * diagnosis.row("best_probe").accuracy.value;
  method.to = 100 * row.accuracy.value;
  method.low = 100 * (full + row.to_full.interval.low);
  method.high = 100 * (full + row.to_full.interval.high);
  method.text = fmt::format("{} ({} to full)", points(row.accuracy.value), signed_points(row.to_full.value));
  return method;
}

Figure step_figure(const Diagnosis& diagnosis) {
  Waterfall waterfall;
  waterfall.title = "From the frozen body as asked to full fine-tuning, choice by choice";
  waterfall.description = fmt::format("Accuracy on {} test examples, in %, and the points that each choice gains.",
                                      count_text(diagnosis.test_examples));
  double reached = diagnosis.row("asked").accuracy.value;
  waterfall.rows.push_back(level_of("as asked", diagnosis.row("asked")));
  waterfall.rows.back().leads_on = true;
  for (const DiagnosisStep& step : diagnosis.steps) {
    WaterfallRow row{choice_name(diagnosis, step.choice), 100 * (reached + step.gain.value)};
    row.from = 100 * reached;
    row.low = 100 * (reached + step.gain.interval.low);
    row.high = 100 * (reached + step.gain.interval.high);
    row.text = signed_with_interval(step.gain);
    row.hollow = !step.gain.excludes_zero();
    row.leads_on = true;
    reached += step.gain.value;
    waterfall.rows.push_back(std::move(row));
  }
  waterfall.rows.push_back(level_of("full fine-tuning", diagnosis.row("full")));
  bool has_methods = false;
  for (const DiagnosisRow& row : diagnosis.rows) {
    if (row.kind != "method") continue;
    has_methods = true;
    waterfall.rows.push_back(method_of(diagnosis, row));
  }
  std::vector<double> ends;
  for (const WaterfallRow& row : waterfall.rows) {
    for (const double end : {row.from, row.to, row.low, row.high}) ends.push_back(std::clamp(end, 0.0, 100.0));
  }
  waterfall.x = figures::linear_axis("accuracy on test, %", ends, {0, 100});
  waterfall.levels = {{100 * diagnosis.row("best_probe").accuracy.value, "the best linear head"}};
  waterfall.marks.hollow = "not told apart from nothing";
  return {
      "Which choice costs what",
      fmt::format("Each bar goes on where the one above it ends; lines are 95 % intervals, of a bar that of its "
                  "gain, around where it ends. A hollow bar is a gain that is not told apart from nothing.{}",
                  has_methods ? " Below full fine-tuning: what each method reaches beyond the best linear head; its "
                                "line is the interval of its difference to full."
                              : ""),
      [waterfall](const std::string& id) { return figures::svg(waterfall, id); }, true};
}

// The probes of a pooling, in percent.
Series probes_of(const Diagnosis& diagnosis, model::Pooling pooling, std::size_t style, std::vector<double>& values) {
  Series series;
  series.name = fmt::format("probe, {}", pooling_name(pooling));
  series.style = style;
  for (const StageProbe& probe : diagnosis.probes) {
    if (probe.pooling != pooling) continue;
    Point point{static_cast<double>(probe.stage), 100 * probe.accuracy.value, 100 * probe.accuracy.interval.low,
                100 * probe.accuracy.interval.high};
    point.chosen = &probe == &diagnosis.best_probe();
    for (const double value : {point.y, point.low, point.high}) values.push_back(value);
    series.points.push_back(std::move(point));
  }
  return series;
}

// What was trained has no layer: a line across all of them.
Series trained_line(const Diagnosis& diagnosis, const DiagnosisRow& row, const std::string& name, std::size_t style,
                    std::vector<double>& values) {
  const double value = 100 * row.accuracy.value;
  values.push_back(value);
  Series series;
  series.name = name;
  series.style = style;
  series.points = {{0, value}, {static_cast<double>(diagnosis.layers), value}};
  return series;
}

Chart probe_chart(const Diagnosis& diagnosis) {
  Chart chart;
  chart.title = "Test accuracy of linear probes by layer";
  chart.description = "A line for each pooling; layer 0 is the embeddings.";
  std::vector<double> values;
  std::size_t style = 0;
  for (const model::Pooling pooling : {model::Pooling::mean, model::Pooling::cls, model::Pooling::pooler}) {
    Series series = probes_of(diagnosis, pooling, style++, values);
    if (!series.points.empty()) chart.series.push_back(std::move(series));
  }
  chart.series.push_back(trained_line(diagnosis, diagnosis.row("full"), "full fine-tuning", kFullStyle, values));
  chart.series.push_back(trained_line(diagnosis, diagnosis.row("asked"), "head as asked", kAskedStyle, values));
  chart.marks.chosen = "the best on dev";
  chart.x = {"layer (0: embeddings)", false, -0.2, diagnosis.layers + 0.2, {}};
  const int step = std::max(1, (diagnosis.layers + kMostTicks - 1) / kMostTicks);
  for (int layer = 0; layer <= diagnosis.layers; layer += step)
    chart.x.ticks.push_back({static_cast<double>(layer), std::to_string(layer)});
  chart.y = figures::linear_axis("accuracy on test, %", values, {0, 100});
  return chart;
}

}  // namespace

std::vector<Figure> diagnosis_figures(const Diagnosis& diagnosis) {
  const Chart chart = probe_chart(diagnosis);
  return {
      step_figure(diagnosis),
      {"What each layer knows",
       "The best linear head on the frozen states of each layer, by what is made of an example's tokens: their mean, "
       "the first one (cls), or BERT's pooler of that. Bars are 95 % intervals.",
       [chart](const std::string& id) { return figures::svg(chart, id); }}};
}

std::string probe_svg(const Diagnosis& diagnosis) { return svg_file(figures::svg(probe_chart(diagnosis), "diagnose")); }

}  // namespace dtrain::study::page
