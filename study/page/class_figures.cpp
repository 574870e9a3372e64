#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "base/log.h"
#include "study/figures/rows.h"
#include "study/findings/class_scores.h"
#include "study/findings/words.h"
#include "study/page/study_figures.h"
#include "study/statistics/statistics.h"

namespace dtrain::study::page {
namespace {

// Fewer examples of a class say nothing.
constexpr std::size_t kFewest = 10;
// What a figure has room for: those with the largest differences.
constexpr std::size_t kMostClasses = 40;

const std::vector<double>* scores_of(const Report& report, const Cell& cell, std::uint64_t seed) {
  const TrialOutcome* outcome = result_of(report.finished, cell, seed);
  if (outcome == nullptr) return nullptr;
  const auto scores = outcome->scores.find("test");
  return scores == outcome->scores.end() ? nullptr : &scores->second;
}

// [seeds][examples], of the seeds that both methods ended with.
std::vector<std::vector<double>> class_differences(const Report& report, const Cell& first, const Cell& second,
                                                   std::size_t examples) {
  std::vector<std::vector<double>> rows;
  for (const std::uint64_t seed : report.plan.seeds_of(first.samples, first.method)) {
    const auto* left = scores_of(report, first, seed);
    const auto* right = scores_of(report, second, seed);
    if (left == nullptr || right == nullptr || left->size() != examples || right->size() != examples) continue;
    std::vector<double> row(examples);
    for (std::size_t i = 0; i < examples; ++i) row[i] = (*left)[i] - (*right)[i];
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<std::vector<double>> columns(const std::vector<std::vector<double>>& rows,
                                         const std::vector<std::size_t>& chosen) {
  std::vector<std::vector<double>> part;
  for (const auto& row : rows) {
    part.emplace_back();
    for (const std::size_t i : chosen) part.back().push_back(row[i]);
  }
  return part;
}

// The taken method, and what it is held against.
std::pair<const Cell*, const Cell*> contenders(const Report& report) {
  const CountDecision* count = report.findings.decision(answered_samples(report));
  if (count == nullptr || !count->decision.taken()) return {};
  const std::size_t taken = *count->decision.taken();
  std::string other = reference_method(report.plan);
  if (count->candidate(taken).method == other) {
    double best = -INFINITY;
    for (const Candidate& candidate : count->contest.candidates()) {
      if (candidate.method == count->candidate(taken).method || candidate.mean <= best) continue;
      best = candidate.mean;
      other = candidate.method;
    }
  }
  return {report.findings.cell(count->candidate(taken).method, count->samples),
          report.findings.cell(other, count->samples)};
}

// "noun.act (120)".
std::string class_title(const Report& report, std::int32_t label, std::int64_t examples) {
  return fmt::format("{} ({})", report.class_name(label), count_text(examples));
}

std::string f1_text(const SeedMean& f1) {
  // Two seeds of a rare class may differ by so much that the interval says nothing.
  return points(f1.mean) + (std::isnan(f1.half_width) ? ""
                            : f1.half_width > 1       ? " ± over 100"
                                                      : " ± " + points(f1.half_width));
}

}  // namespace

Table class_table(const Report& report, std::int64_t samples) {
  const StudyPlan& plan = report.plan;
  const auto set = std::find_if(plan.sets.begin(), plan.sets.end(),
                                [](const EvaluationSet& candidate) { return candidate.name == "test"; });
  if (set == plan.sets.end()) return {};
  Table table{{"class"}, {}};
  // The same classes for every method: those of the set.
  for (const Cell& cell : report.findings.cells) {
    if (cell.samples != samples) continue;
    const auto scores = class_scores(plan, report.finished, cell, *set);
    if (scores.empty()) continue;
    if (table.rows.empty()) {
      for (const ClassScore& score : scores) table.rows.push_back({class_title(report, score.label, score.examples)});
    }
    table.header.push_back(cell.method);
    for (std::size_t i = 0; i < scores.size(); ++i) table.rows[i].push_back(f1_text(scores[i].f1));
  }
  return table;
}

std::vector<Figure> class_figures(const Report& report) {
  const auto set = std::find_if(report.plan.sets.begin(), report.plan.sets.end(),
                                [](const EvaluationSet& candidate) { return candidate.name == "test"; });
  const auto [first, second] = contenders(report);
  if (set == report.plan.sets.end() || set->labels.empty() || first == nullptr || second == nullptr ||
      first == second || !first->learning_rate || !second->learning_rate)
    return {};
  const auto rows = class_differences(report, *first, *second, set->labels.size());
  if (rows.empty()) return {};
  std::map<std::int32_t, std::vector<std::size_t>> classes;
  for (std::size_t i = 0; i < set->labels.size(); ++i) classes[set->labels[i]].push_back(i);
  figures::RowChart chart;
  std::vector<double> ends = {0};
  std::size_t few = 0;
  for (const auto& [label, members] : classes) {
    if (members.size() < kFewest) {
      ++few;
      continue;
    }
    const PairedDifference difference = paired_difference(columns(rows, members));
    const Interval interval = difference.interval(0.95);
    chart.rows.push_back({class_title(report, label, static_cast<std::int64_t>(members.size())),
                          style_of(report.plan, difference.mean < 0 ? second->method : first->method),
                          100 * difference.mean, 100 * std::max(-1.0, interval.low), 100 * std::min(1.0, interval.high),
                          signed_points(difference.mean)});
  }
  if (chart.rows.empty()) return {};
  std::sort(chart.rows.begin(), chart.rows.end(), [](const figures::Row& left, const figures::Row& right) {
    return std::abs(left.value) > std::abs(right.value);
  });
  const std::size_t left_out = chart.rows.size() > kMostClasses ? chart.rows.size() - kMostClasses : 0;
  chart.rows.resize(chart.rows.size() - left_out);
  std::sort(chart.rows.begin(), chart.rows.end(),
            [](const figures::Row& left, const figures::Row& right) { return left.value > right.value; });
  for (const figures::Row& row : chart.rows) {
    for (const double value : {row.value, row.low, row.high}) ends.push_back(value);
  }
  chart.title = fmt::format("Accuracy of {} minus {} on each class of the test set", first->method, second->method);
  chart.description = fmt::format("With {} training examples, in points.", count_text(first->samples));
  chart.bars = true;
  chart.x = figures::linear_axis(fmt::format("points more right than {}", second->method), ends, {-100, 100});
  chart.levels = {{0, ""}};
  std::string caption = fmt::format(
      "To the right {} is right more often, to the left {}; in brackets the examples of the class. Lines are 95 % "
      "intervals, each for itself: of 20 classes about one misses the truth by chance.",
      first->method, second->method);
  if (few > 0) caption += fmt::format(" Classes with fewer than {} examples: {}, not shown.", kFewest, few);
  if (left_out > 0) caption += fmt::format(" {} more with smaller differences are not shown.", left_out);
  return {{fmt::format("Class by class: {} against {}, {} examples", first->method, second->method,
                       count_text(first->samples)),
           caption, [chart](const std::string& id) { return figures::svg(chart, id); }}};
}

}  // namespace dtrain::study::page
