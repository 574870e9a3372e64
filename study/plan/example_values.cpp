#include "study/plan/example_values.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <utility>

#include "train/class_counts.h"
#include "train/objective.h"

namespace dtrain::study {
namespace {

using train::ClassCounts;

// A metric of class counts, and its derivatives by the counts of each class and of all examples.
struct Linearised {
  explicit Linearised(std::size_t classes) : by_hits(classes, 0), by_truth(classes, 0), by_predicted(classes, 0) {}

  // What an example adds to the metric, times the number of examples.
  double influence(std::size_t truth, std::size_t predicted, double examples) const {
    const double by_hit = truth == predicted ? by_hits[truth] : 0;
    return examples * (by_hit + by_truth[truth] + by_predicted[predicted] + by_total);
  }

  double value = 0;
  std::vector<double> by_hits;
  std::vector<double> by_truth;
  std::vector<double> by_predicted;
  double by_total = 0;
};

// A sum over the classes of weight times F1 = 2 hits / (truth + predicted).
void add_f1(Linearised& metric, const ClassCounts& counts, std::size_t index, double weight) {
  const double f1 = counts.of_class(index).f1;
  const double size = counts.truth[index] + counts.predicted[index];
  metric.by_hits[index] += 2 * weight / size;
  metric.by_truth[index] -= weight * f1 / size;
  metric.by_predicted[index] -= weight * f1 / size;
}

Linearised linearised_macro_f1(const ClassCounts& counts) {
  Linearised metric(counts.truth.size());
  metric.value = counts.macro_f1();
  double seen = 0;
  for (std::size_t c = 0; c < counts.truth.size(); ++c) seen += counts.is_seen(c) ? 1 : 0;
  for (std::size_t c = 0; c < counts.truth.size(); ++c) {
    if (counts.is_seen(c)) add_f1(metric, counts, c, 1 / seen);
  }
  return metric;
}

Linearised linearised_weighted_f1(const ClassCounts& counts) {
  Linearised metric(counts.truth.size());
  metric.value = counts.weighted_f1();
  for (std::size_t c = 0; c < counts.truth.size(); ++c) {
    if (!counts.is_seen(c)) continue;
    add_f1(metric, counts, c, counts.truth[c] / counts.total);
    metric.by_truth[c] += counts.of_class(c).f1 / counts.total;
  }
  metric.by_total = -metric.value / counts.total;
  return metric;
}

// (correct n - chance) / sqrt(of_truth of_predicted), where chance is the sum of truth times predicted, and the others
// are n^2 less a sum of squares.
Linearised linearised_matthews(const ClassCounts& counts) {
  Linearised metric(counts.truth.size());
  metric.value = counts.matthews();
  double of_truth = counts.total * counts.total;
  double of_predicted = of_truth;
  for (std::size_t c = 0; c < counts.truth.size(); ++c) {
    of_truth -= counts.truth[c] * counts.truth[c];
    of_predicted -= counts.predicted[c] * counts.predicted[c];
  }
  if (of_truth <= 0 || of_predicted <= 0) return metric;  // always the same answer: 0 by definition
  const double root = std::sqrt(of_truth * of_predicted);
  for (std::size_t c = 0; c < counts.truth.size(); ++c) {
    metric.by_hits[c] = counts.total / root;
    metric.by_truth[c] = -counts.predicted[c] / root + metric.value * counts.truth[c] / of_truth;
    metric.by_predicted[c] = -counts.truth[c] / root + metric.value * counts.predicted[c] / of_predicted;
  }
  metric.by_total = counts.correct / root - metric.value * counts.total * (1 / of_truth + 1 / of_predicted);
  return metric;
}

using Linearise = Linearised (*)(const ClassCounts&);

// A metric: a line here, its line in metric_kinds of the objective and its value there; docs/architecture.md has the
// rest.
const std::vector<std::pair<std::string, Linearise>>& linearised_metrics() {
  static const std::vector<std::pair<std::string, Linearise>> metrics = {
      {"macro_f1", linearised_macro_f1}, {"weighted_f1", linearised_weighted_f1}, {"matthews", linearised_matthews}};
  return metrics;
}

Linearise linearisation_of(const std::string& metric) {
  for (const auto& [name, function] : linearised_metrics()) {
    if (name == metric) return function;
  }
  return nullptr;
}

void require_labels(const EvaluationSet& set, std::size_t examples) {
  if (set.labels.size() != examples || examples == 0)
    throw std::invalid_argument("an evaluation set without a label for each example");
}

ExampleValues values_of_classes(Linearise linearise, const std::vector<std::int32_t>& truth,
                                const std::vector<std::int32_t>& predicted) {
  const auto [least_true, most_true] = std::minmax_element(truth.begin(), truth.end());
  const auto [least, most] = std::minmax_element(predicted.begin(), predicted.end());
  if (*least_true < 0 || *least < 0) throw std::invalid_argument("an evaluation set without a label for each example");
  const auto at = [](const std::vector<std::int32_t>& classes, std::size_t i) {
    return static_cast<std::size_t>(classes[i]);
  };
  ClassCounts counts(static_cast<std::size_t>(std::max(*most_true, *most)) + 1);
  for (std::size_t i = 0; i < truth.size(); ++i) counts.add(at(truth, i), at(predicted, i));
  const Linearised metric = linearise(counts);
  const auto n = static_cast<double>(truth.size());
  ExampleValues result;
  result.values.reserve(truth.size());
  for (std::size_t i = 0; i < truth.size(); ++i)
    result.values.push_back(metric.value + metric.influence(at(truth, i), at(predicted, i), n));
  std::vector<std::size_t> seen;
  for (std::size_t c = 0; c < counts.truth.size(); ++c) {
    if (counts.is_seen(c)) seen.push_back(c);
  }
  for (const std::size_t c : seen) {
    if (counts.truth[c] == 0) continue;
    const double right = metric.influence(c, c, n);
    for (const std::size_t other : seen)
      result.unit = std::max(result.unit, std::abs(right - metric.influence(c, other, n)));
  }
  return result;
}

// Of a metric that is the mean of what the trial kept; null where it is none, or was not kept.
const std::vector<float>* kept_values(const std::string& metric, const std::string& set, const TrialOutcome& outcome) {
  const auto of_set = outcome.values.find(set);
  if (of_set == outcome.values.end()) return nullptr;
  const auto found = of_set->second.find(metric);
  return found == of_set->second.end() ? nullptr : &found->second;
}

bool is_kept_mean(const std::string& metric) {
  const auto& all = train::objectives();
  return std::any_of(all.begin(), all.end(), [&](const train::Objective* objective) {
    const auto names = objective->mean_metrics();
    return std::find(names.begin(), names.end(), metric) != names.end();
  });
}

std::optional<ExampleValues> values_of_kept(const std::string& metric, const std::vector<float>& kept) {
  ExampleValues result{{}, train::metric_kind(metric).is_share ? 1.0 : 0.0};
  for (const float value : kept) {
    if (!std::isfinite(value)) return std::nullopt;
    result.values.push_back(train::merit(metric, value));
  }
  return result;
}

ExampleValues values_of_scores(const std::string& metric, const EvaluationSet& set, const std::vector<double>& scores) {
  ExampleValues result{scores, 1};
  if (metric != "balanced_accuracy") return result;
  require_labels(set, scores.size());
  std::map<std::int32_t, double> counts;
  for (const std::int32_t label : set.labels) ++counts[label];
  const auto weight = [&](double count) {
    return static_cast<double>(scores.size()) / (static_cast<double>(counts.size()) * count);
  };
  for (std::size_t i = 0; i < scores.size(); ++i) result.values[i] *= weight(counts[set.labels[i]]);
  for (const auto& [label, count] : counts) result.unit = std::max(result.unit, weight(count));
  return result;
}

}  // namespace

std::optional<ExampleValues> example_values(const std::string& metric, const EvaluationSet& set,
                                            const TrialOutcome& outcome) {
  if (const Linearise linearise = linearisation_of(metric)) {
    const auto predicted = outcome.predicted.find(set.name);
    if (predicted == outcome.predicted.end()) return std::nullopt;
    require_labels(set, predicted->second.size());
    return values_of_classes(linearise, set.labels, predicted->second);
  }
  if (is_kept_mean(metric)) {
    const auto* kept = kept_values(metric, set.name, outcome);
    return kept == nullptr ? std::nullopt : values_of_kept(metric, *kept);
  }
  const auto scores = outcome.scores.find(set.name);
  if (scores == outcome.scores.end()) return std::nullopt;
  return values_of_scores(metric, set, scores->second);
}

std::optional<PairedDifference> difference_in_values(
    const std::vector<std::pair<const ExampleValues*, const ExampleValues*>>& seeds) {
  std::vector<std::vector<double>> rows;
  double unit = 0;
  for (const auto& [first, second] : seeds) {
    auto& row = rows.emplace_back(first->values);
    unit = std::max({unit, first->unit, second->unit});
    for (std::size_t i = 0; i < row.size(); ++i) {
      row[i] -= second->values[i];
      // Scores and losses without a bound make differences of more than their unit.
      unit = std::max(unit, std::abs(row[i]));
    }
  }
  if (rows.empty() || rows[0].size() < 2) return std::nullopt;
  return paired_difference(rows, unit > 0 ? unit : 1);
}

const std::vector<std::string>& class_count_metrics() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const auto& [name, function] : linearised_metrics()) all.push_back(name);
    return all;
  }();
  return names;
}

std::int64_t results_without_values(const StudyPlan& plan, const FinishedTrials& finished) {
  const bool is_mean = is_kept_mean(plan.metric);
  if (linearisation_of(plan.metric) == nullptr && !is_mean) return 0;
  return std::count_if(finished.begin(), finished.end(), [&](const auto& entry) {
    const Trial& trial = entry.second.first;
    const TrialOutcome& outcome = entry.second.second;
    return trial.phase == Trial::Phase::result && !outcome.failed() &&
           std::any_of(plan.sets.begin(), plan.sets.end(), [&](const EvaluationSet& set) {
             const auto metrics = outcome.metrics.find(set.name);
             const bool is_kept = is_mean ? kept_values(plan.metric, set.name, outcome) != nullptr
                                          : outcome.predicted.count(set.name) > 0;
             return !is_kept || metrics == outcome.metrics.end() || metrics->second.count(plan.metric) == 0;
           });
  });
}

}  // namespace dtrain::study
