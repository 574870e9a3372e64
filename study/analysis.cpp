#include "study/analysis.h"

#include <algorithm>
#include <cmath>

namespace dtrain::study {
namespace {

bool has_collapsed(const StudyPlan& plan, const Outcome& outcome) {
  const double dev_loss = outcome.metric("dev", "log_loss");
  if (dev_loss >= std::log(static_cast<double>(plan.classes))) return true;
  if (outcome.metric("dev", "accuracy") <= plan.dev_majority_share + 0.01) return true;
  return std::any_of(plan.sets.begin(), plan.sets.end(), [&](const EvaluationSet& set) {
    return set.name == "test" && outcome.metric("test", "accuracy") <= set.majority_share + 0.01;
  });
}

Cost mean_cost(const std::vector<const Outcome*>& outcomes) {
  Cost cost;
  if (outcomes.empty()) return cost;
  const auto count = static_cast<double>(outcomes.size());
  for (const Outcome* outcome : outcomes) {
    cost.train_seconds += outcome->cost.train_seconds / count;
    cost.samples_per_second += outcome->cost.samples_per_second / count;
    cost.peak_memory_bytes = std::max(cost.peak_memory_bytes, outcome->cost.peak_memory_bytes);
  }
  cost.trainable_parameters = outcomes[0]->cost.trainable_parameters;
  cost.allreduce_bytes_per_step = outcomes[0]->cost.allreduce_bytes_per_step;
  cost.stored_bytes = outcomes[0]->cost.stored_bytes;
  return cost;
}

std::optional<Cell> make_cell(const StudyPlan& plan, const MethodPlan& method, std::int64_t samples,
                              const FinishedTrials& finished) {
  Cell cell;
  cell.method = method.method.text();
  cell.samples = samples;
  for (const Trial& trial : search_trials(plan, method, samples)) {
    const auto found = finished.find(trial.key());
    if (found == finished.end()) return std::nullopt;
    cell.search.emplace_back(trial.learning_rate, found->second.second.metric("dev", plan.select_metric));
  }
  cell.learning_rate = chosen_learning_rate(plan, method, samples, finished);
  if (!cell.learning_rate) return cell;
  cell.at_low_edge = !cell.search.empty() && cell.learning_rate == method.learning_rates.front();
  cell.at_high_edge = !cell.search.empty() && cell.learning_rate == method.learning_rates.back();
  std::vector<const Outcome*> ended;
  for (const Trial& trial : result_trials(plan, method, samples, *cell.learning_rate)) {
    const auto found = finished.find(trial.key());
    if (found == finished.end()) continue;
    const Outcome& outcome = found->second.second;
    if (outcome.failed()) {
      cell.failed.push_back(trial.seed);
    } else {
      ended.push_back(&outcome);
      if (has_collapsed(plan, outcome)) cell.collapsed.push_back(trial.seed);
    }
  }
  if (ended.empty() && cell.failed.empty()) return std::nullopt;
  cell.cost = mean_cost(ended);
  if (ended.empty()) return cell;
  for (const auto& [set, metrics] : ended[0]->metrics) {
    for (const auto& [name, ignored] : metrics) {
      std::vector<double> values;
      for (const Outcome* outcome : ended) values.push_back(outcome->metric(set, name));
      cell.metrics[set][name] = mean_over_seeds(values);
    }
  }
  return cell;
}

// Over the seeds that both ended.
std::optional<PairedDifference> difference(const StudyPlan& plan, const FinishedTrials& finished, const Cell& first,
                                           const Cell& second, const std::string& set) {
  if (!first.learning_rate || !second.learning_rate) return std::nullopt;
  std::vector<std::vector<double>> rows;
  for (const std::uint64_t seed : plan.result_seeds) {
    const auto outcome = [&](const Cell& cell) -> const std::vector<double>* {
      const Trial trial{Trial::Phase::result, cell.method, cell.samples, *cell.learning_rate, seed};
      const auto found = finished.find(trial.key());
      if (found == finished.end()) return nullptr;
      const auto& scores = found->second.second.scores;
      const auto of_set = scores.find(set);
      return of_set == scores.end() ? nullptr : &of_set->second;
    };
    const std::vector<double>* left = outcome(first);
    const std::vector<double>* right = outcome(second);
    if (left == nullptr || right == nullptr || left->size() != right->size()) continue;
    std::vector<double> row(left->size());
    for (std::size_t i = 0; i < row.size(); ++i) row[i] = (*left)[i] - (*right)[i];
    rows.push_back(std::move(row));
  }
  if (rows.empty() || rows[0].size() < 2) return std::nullopt;
  return paired_difference(rows);
}

}  // namespace

Comparison Comparison::reversed() const {
  Comparison result = *this;
  std::swap(result.first, result.second);
  result.difference.mean = -difference.mean;
  return result;
}

const Cell* Findings::cell(const std::string& method, std::int64_t samples) const {
  const auto found = std::find_if(cells.begin(), cells.end(), [&](const Cell& candidate) {
    return candidate.method == method && candidate.samples == samples;
  });
  return found == cells.end() ? nullptr : &*found;
}

std::optional<Comparison> Findings::compare(const std::string& set, std::int64_t samples, const std::string& first,
                                            const std::string& second) const {
  for (const Comparison& comparison : comparisons) {
    if (comparison.set != set || comparison.samples != samples) continue;
    if (comparison.first == first && comparison.second == second) return comparison;
    if (comparison.first == second && comparison.second == first) return comparison.reversed();
  }
  return std::nullopt;
}

Findings analyse(const StudyPlan& plan, const FinishedTrials& finished) {
  Findings findings;
  for (const std::int64_t samples : plan.samples) {
    for (const MethodPlan& method : plan.methods) {
      if (auto cell = make_cell(plan, method, samples, finished)) findings.cells.push_back(std::move(*cell));
    }
  }
  for (const EvaluationSet& set : plan.sets) {
    std::vector<Comparison> family;
    std::vector<double> p_values;
    for (std::size_t i = 0; i < findings.cells.size(); ++i) {
      for (std::size_t j = i + 1; j < findings.cells.size(); ++j) {
        const Cell& first = findings.cells[i];
        const Cell& second = findings.cells[j];
        if (first.samples != second.samples) continue;
        const auto paired = difference(plan, finished, first, second, set.name);
        if (!paired) continue;
        family.push_back({set.name, first.samples, first.method, second.method, *paired, 0});
        p_values.push_back(paired->p_value());
      }
    }
    const auto adjusted = holm(p_values);
    for (std::size_t i = 0; i < family.size(); ++i) {
      family[i].adjusted_p = adjusted[i];
      findings.comparisons.push_back(family[i]);
    }
  }
  return findings;
}

}  // namespace dtrain::study
