#include "study/findings/analysis.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <stdexcept>
#include <utility>

#include "study/findings/words.h"
#include "study/plan/chance.h"
#include "study/plan/example_values.h"
#include "study/plan/search.h"
#include "train/objective.h"

namespace dtrain::study {
namespace {

bool has_collapsed(const StudyPlan& plan, const TrialOutcome& outcome) {
  auto at_chance = is_at_chance(plan, outcome, "dev", plan.dev_majority_share);
  for (const EvaluationSet& set : plan.sets) {
    if (set.name != "test") continue;
    const auto on_test = is_at_chance(plan, outcome, set.name, set.majority_share);
    if (on_test) at_chance = *on_test && at_chance.value_or(true);
  }
  return at_chance.value_or(false);
}

void take_larger_memory(Cost& cost, const Cost& other) {
  cost.peak_memory_bytes = std::max(cost.peak_memory_bytes, other.peak_memory_bytes);
  // Nothing is less than any number.
  cost.peak_memory_above_base_bytes = std::max(cost.peak_memory_above_base_bytes, other.peak_memory_above_base_bytes);
  cost.peak_host_memory_bytes = std::max(cost.peak_host_memory_bytes, other.peak_host_memory_bytes);
}

Cost mean_cost(const std::vector<const TrialOutcome*>& outcomes) {
  Cost cost;
  if (outcomes.empty()) return cost;
  const auto mean = [&](double Cost::*part) {
    double sum = 0;
    for (const TrialOutcome* outcome : outcomes) sum += outcome->cost.*part;
    return sum / static_cast<double>(outcomes.size());
  };
  for (double Cost::*part : {&Cost::train_seconds, &Cost::samples_per_second, &Cost::tokens_per_second, &Cost::flop,
                             &Cost::matmul_rate_share, &Cost::energy_joules})
    cost.*part = mean(part);
  // Joules of different things have no mean.
  cost.energy_of = outcomes[0]->cost.energy_of;
  const auto is_of_others = [&](const TrialOutcome* outcome) { return outcome->cost.energy_of != cost.energy_of; };
  if (std::any_of(outcomes.begin(), outcomes.end(), is_of_others)) {
    cost.energy_joules = std::numeric_limits<double>::quiet_NaN();
    cost.energy_of = "";
  }
  for (const TrialOutcome* outcome : outcomes) take_larger_memory(cost, outcome->cost);
  // What ran on different numbers was measured on none of them.
  for (std::optional<int> Cost::*part : {&Cost::ranks, &Cost::threads_per_rank}) {
    const auto first = outcomes[0]->cost.*part;
    if (std::all_of(outcomes.begin(), outcomes.end(),
                    [&](const TrialOutcome* outcome) { return outcome->cost.*part == first; }))
      cost.*part = first;
  }
  cost.trainable_parameters = outcomes[0]->cost.trainable_parameters;
  cost.allreduce_bytes_per_step = outcomes[0]->cost.allreduce_bytes_per_step;
  cost.stored_bytes = outcomes[0]->cost.stored_bytes;
  return cost;
}

std::map<std::string, SeedMean> mean_forgetting(const std::vector<const TrialOutcome*>& outcomes) {
  std::map<std::string, std::vector<double>> values;
  for (const TrialOutcome* outcome : outcomes) {
    for (const auto& [measure, value] : outcome->forgetting) {
      if (std::isfinite(value)) values[measure].push_back(value);
    }
  }
  std::map<std::string, SeedMean> means;
  for (const auto& [measure, of_seeds] : values) means[measure] = mean_over_seeds(of_seeds);
  return means;
}

std::optional<Cell> make_cell(const StudyPlan& plan, const MethodPlan& method, std::int64_t samples,
                              const FinishedTrials& finished, const MethodCosts& costs) {
  Cell cell;
  cell.method = method.method.text();
  cell.samples = samples;
  const Search found = search(plan, method, samples, finished);
  Cost searched;
  for (const Trial& trial : found.asked) {
    const auto tried = finished.find(trial.key());
    if (tried == finished.end()) continue;
    const TrialOutcome& outcome = tried->second.second;
    cell.search.push_back({trial.learning_rate, trial.length, outcome.metric("dev", plan.select_metric)});
    cell.search_seconds += outcome.seconds;
    take_larger_memory(searched, outcome.cost);
  }
  if (!found.done) return std::nullopt;
  cell.learning_rate = found.chosen;
  if (!cell.learning_rate) return cell;
  for (const double rate : found.with_results) {
    if (rate == *cell.learning_rate) continue;
    for (const Trial& trial : result_trials(plan, method, samples, rate)) {
      const auto tried = finished.find(trial.key());
      if (tried != finished.end()) cell.search_seconds += tried->second.second.seconds;
    }
    if (rate > *cell.learning_rate) cell.left_rates.push_back(rate);
  }
  cell.at_low_edge = found.at_low_edge;
  cell.at_high_edge = found.at_high_edge;
  std::vector<const TrialOutcome*> ended;
  for (const Trial& trial : result_trials(plan, method, samples, *cell.learning_rate)) {
    const auto tried = finished.find(trial.key());
    if (tried == finished.end()) continue;
    const TrialOutcome& outcome = tried->second.second;
    cell.result_seconds += outcome.seconds;
    if (outcome.failed()) {
      if (cell.failed.empty()) cell.failure = outcome.failure;
      cell.failed.push_back(trial.seed);
    } else {
      ended.push_back(&outcome);
      if (has_collapsed(plan, outcome)) cell.collapsed.push_back(trial.seed);
    }
  }
  if (ended.empty() && cell.failed.empty()) return std::nullopt;
  cell.ended = static_cast<std::int64_t>(ended.size());
  cell.cost = mean_cost(ended);
  const auto of_method = costs.find(cell.method);
  if (of_method != costs.end() && of_method->second.count(samples) > 0) {
    // A few steps take less memory than a training with its features: what the trials took is more.
    const Cost trained = cell.cost;
    cell.cost = of_method->second.at(samples);
    take_larger_memory(cell.cost, trained);
    take_larger_memory(cell.cost, searched);
    // Counted in whole trainings; and a few steps are too short for the counters of energy.
    cell.cost.flop = trained.flop;
    cell.cost.energy_joules = trained.energy_joules;
    cell.cost.energy_of = trained.energy_of;
  }
  if (ended.empty()) return cell;
  cell.forgetting = mean_forgetting(ended);
  for (const auto& [set, metrics] : ended[0]->metrics) {
    for (const auto& [name, ignored] : metrics) {
      std::vector<double> values;
      for (const TrialOutcome* outcome : ended) values.push_back(outcome->metric(set, name));
      cell.metrics[set][name] = mean_over_seeds(values);
    }
  }
  return cell;
}

using SeedValues = std::map<std::uint64_t, ExampleValues>;

// Of the seeds that ended.
SeedValues values_of(const StudyPlan& plan, const FinishedTrials& finished, const Cell& cell,
                     const EvaluationSet& set) {
  SeedValues values;
  for (const std::uint64_t seed : plan.seeds_of(cell.samples, cell.method)) {
    const TrialOutcome* outcome = result_of(finished, cell, seed);
    if (outcome == nullptr) continue;
    if (auto of_seed = example_values(plan.metric, set, *outcome)) values.emplace(seed, std::move(*of_seed));
  }
  return values;
}

// Over the seeds that both have, as far as they are of the same examples.
std::optional<PairedDifference> difference(const SeedValues& first, const SeedValues& second) {
  std::vector<std::pair<const ExampleValues*, const ExampleValues*>> seeds;
  for (const auto& [seed, left] : first) {
    const auto right = second.find(seed);
    if (right == second.end() || right->second.values.size() != left.values.size()) continue;
    if (seeds.empty() || seeds[0].first->values.size() == left.values.size()) seeds.emplace_back(&left, &right->second);
  }
  return difference_in_values(seeds);
}

// At which all is shown at a count.
double level_at(const StudyPlan& plan, std::int64_t samples) {
  return plan.more_seeds.count(samples) > 0 ? kLevelWithAddedSeeds : kLevel;
}

void compare_pairs(const StudyPlan& plan, const FinishedTrials& finished, const EvaluationSet& set,
                   std::int64_t samples, Findings& findings) {
  const auto cells = findings.cells_at(samples);
  std::vector<Comparison> family;
  std::vector<double> p_values;
  std::vector<SeedValues> values;
  for (const Cell* cell : cells) values.push_back(values_of(plan, finished, *cell, set));
  for (std::size_t i = 0; i < cells.size(); ++i) {
    for (std::size_t j = i + 1; j < cells.size(); ++j) {
      const auto paired = difference(values[i], values[j]);
      if (!paired) continue;
      family.push_back({set.name, samples, cells[i]->method, cells[j]->method, *paired, 0, level_at(plan, samples)});
      p_values.push_back(paired->p_value());
    }
  }
  const auto adjusted = holm(p_values);
  for (std::size_t i = 0; i < family.size(); ++i) {
    family[i].adjusted_p = adjusted[i];
    findings.comparisons.push_back(family[i]);
  }
}

// Over the seeds that both ended; NaN where one of them has no such number.
std::vector<double> forgetting_differences(const StudyPlan& plan, const FinishedTrials& finished, const Cell& first,
                                           const Cell& second, const std::string& measure) {
  const auto value = [&](const Cell& cell, std::uint64_t seed) {
    const TrialOutcome* outcome = result_of(finished, cell, seed);
    if (outcome == nullptr || outcome->forgetting.count(measure) == 0) return std::numeric_limits<double>::quiet_NaN();
    return outcome->forgetting.at(measure);
  };
  std::vector<double> differences;
  for (const std::uint64_t seed : plan.seeds_of(first.samples, first.method)) {
    const double difference = value(first, seed) - value(second, seed);
    if (std::isfinite(difference)) differences.push_back(difference);
  }
  return differences;
}

void compare_forgetting(const StudyPlan& plan, const FinishedTrials& finished, const std::string& measure,
                        std::int64_t samples, Findings& findings) {
  const auto cells = findings.cells_at(samples);
  std::vector<ForgettingComparison> family;
  std::vector<double> p_values;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    for (std::size_t j = i + 1; j < cells.size(); ++j) {
      const Cell& first = *cells[i];
      const Cell& second = *cells[j];
      if (first.forgetting.count(measure) == 0 || second.forgetting.count(measure) == 0) continue;
      const auto differences = forgetting_differences(plan, finished, first, second, measure);
      if (differences.empty()) continue;
      SeedMean mean = mean_over_seeds(differences);
      p_values.push_back(p_value_of_zero(mean));
      // Seeds that are all the same do not bound what others would give before the sign test shows something.
      if (mean.half_width < std::abs(mean.mean) && p_values.back() >= 0.05)
        mean.half_width = std::numeric_limits<double>::quiet_NaN();
      family.push_back(
          {measure, samples, first.method, second.method, mean, p_values.back(), 0, level_at(plan, samples)});
    }
  }
  const auto adjusted = holm(p_values);
  for (std::size_t i = 0; i < family.size(); ++i) {
    family[i].adjusted_p = adjusted[i];
    findings.forgetting.push_back(family[i]);
  }
}

std::optional<CountDecision> decision_at(const StudyPlan& plan, const Findings& findings, std::int64_t samples) {
  std::vector<Candidate> candidates;
  for (const Cell& cell : findings.cells) {
    if (cell.samples != samples || cell.ended < 2) continue;
    const auto metrics = cell.metrics.find("test");
    if (metrics == cell.metrics.end() || metrics->second.count(plan.metric) == 0) continue;
    const double mean = metrics->second.at(plan.metric).mean;
    if (!std::isfinite(mean)) continue;
    candidates.push_back({cell.method, train::merit(plan.metric, mean), cell.cost.train_seconds, cell.all_collapsed()});
  }
  if (candidates.size() < 2) return std::nullopt;
  const Contest contest(candidates, plan.margin, findings.pairs("test", samples), level_at(plan, samples));
  CountDecision result{samples, contest, {}, {}};
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    for (std::size_t j = i + 1; j < candidates.size(); ++j) {
      const auto comparison = findings.compare("test", samples, candidates[i].method, candidates[j].method);
      if (comparison) result.contest.set(i, j, comparison->difference, comparison->adjusted_p);
    }
  }
  result.decision = decide(result.contest);
  if (result.decision.best && !result.decision.decided()) result.remedy = remedy(result.contest);
  return result;
}

// Where what is taken changes from one sample count to the next.
std::vector<AdviceChange> advice_changes(const StudyPlan& plan, const Findings& findings) {
  std::vector<AdviceChange> changes;
  const CountDecision* last = nullptr;
  for (const CountDecision& now : findings.decisions) {
    if (!now.decision.taken()) continue;
    if (last != nullptr) {
      const Candidate& before = last->candidate(*last->decision.taken());
      const Candidate& after = now.candidate(*now.decision.taken());
      if (before.method != after.method) {
        const bool grows = after.train_seconds >= before.train_seconds;
        const std::string& dear = grows ? after.method : before.method;
        const std::string& cheap = grows ? before.method : after.method;
        std::vector<DifferenceAt> points;
        for (const std::int64_t samples : plan.samples) {
          const auto comparison = findings.compare("test", samples, dear, cheap);
          if (comparison) points.push_back({samples, comparison->difference});
        }
        changes.push_back({last->samples, now.samples, before.method, after.method, crossover(points, plan.margin)});
      }
    }
    last = &now;
  }
  return changes;
}

}  // namespace

Comparison Comparison::reversed() const {
  Comparison result = *this;
  std::swap(result.first, result.second);
  result.difference = difference.reversed();
  return result;
}

PairedDifference Comparison::in_metric(const std::string& metric) const {
  return train::larger_is_better(metric) ? difference : difference.reversed();
}

std::vector<std::string> CountDecision::leaders_beside(std::size_t index) const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < contest.candidates().size(); ++i) {
    if (i != index && !candidate(i).collapsed && is_tie(candidate(i).mean, candidate(*decision.best).mean))
      names.push_back(candidate(i).method);
  }
  return names;
}

bool CountDecision::is_alone(std::size_t index) const {
  for (std::size_t i = 0; i < contest.candidates().size(); ++i) {
    if (i != index && !candidate(i).collapsed) return false;
  }
  return true;
}

const Cell* Findings::cell(const std::string& method, std::int64_t samples) const {
  const auto found = std::find_if(cells.begin(), cells.end(), [&](const Cell& candidate) {
    return candidate.method == method && candidate.samples == samples;
  });
  return found == cells.end() ? nullptr : &*found;
}

const CountDecision* Findings::decision(std::int64_t samples) const {
  const auto found = std::find_if(decisions.begin(), decisions.end(),
                                  [&](const CountDecision& candidate) { return candidate.samples == samples; });
  return found == decisions.end() ? nullptr : &*found;
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

std::vector<const Cell*> Findings::cells_at(std::int64_t samples) const {
  std::vector<const Cell*> found;
  for (const Cell& cell : cells) {
    if (cell.samples == samples) found.push_back(&cell);
  }
  return found;
}

std::size_t Findings::pairs(const std::string& set, std::int64_t samples) const {
  return static_cast<std::size_t>(
      std::count_if(comparisons.begin(), comparisons.end(), [&](const Comparison& comparison) {
        return comparison.set == set && comparison.samples == samples && !std::isnan(comparison.adjusted_p);
      }));
}

const TrialOutcome* result_of(const FinishedTrials& finished, const Cell& cell, std::uint64_t seed) {
  if (!cell.learning_rate) return nullptr;
  const Trial trial{Trial::Phase::result, cell.method, cell.samples, *cell.learning_rate, seed};
  const auto found = finished.find(trial.key());
  return found == finished.end() ? nullptr : &found->second.second;
}

Findings analyse(const StudyPlan& plan, const FinishedTrials& finished, const MethodCosts& costs) {
  Findings findings;
  for (const std::int64_t samples : plan.samples) {
    for (const MethodPlan& method : plan.methods) {
      if (auto cell = make_cell(plan, method, samples, finished, costs)) findings.cells.push_back(std::move(*cell));
    }
  }
  for (const EvaluationSet& set : plan.sets) {
    for (const std::int64_t samples : plan.samples) compare_pairs(plan, finished, set, samples, findings);
  }
  std::set<std::string> measures;
  for (const Cell& cell : findings.cells) {
    for (const auto& [measure, mean] : cell.forgetting) {
      if (!is_before(measure)) measures.insert(measure);
    }
  }
  for (const std::string& measure : measures) {
    for (const std::int64_t samples : plan.samples) compare_forgetting(plan, finished, measure, samples, findings);
  }
  for (const std::int64_t samples : plan.samples) {
    if (auto decision = decision_at(plan, findings, samples)) findings.decisions.push_back(std::move(*decision));
  }
  findings.changes = advice_changes(plan, findings);
  return findings;
}

}  // namespace dtrain::study
