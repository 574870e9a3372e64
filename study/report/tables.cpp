#include "study/report/tables.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "base/log.h"
#include "study/findings/words.h"
#include "study/plan/schedule.h"
#include "train/objective.h"

namespace dtrain::study {
namespace {

// To three digits, without the sign of what they do not show.
std::string thousandths(double value) { return fmt::format("{:.3f}", std::round(1000 * value) / 1000 + 0.0); }
std::string signed_thousandths(double value) { return fmt::format("{:+.3f}", std::round(1000 * value) / 1000 + 0.0); }

std::string if_known(double value, const char* format) {
  return std::isfinite(value) ? fmt::format(fmt::runtime(format), value) : "-";
}

std::string metric_text(const Cell& cell, const std::string& set, const std::string& metric) {
  const auto found = cell.metrics.find(set);
  if (found == cell.metrics.end() || found->second.count(metric) == 0) return "-";
  const SeedMean& mean = found->second.at(metric);
  if (std::isnan(mean.mean)) return "-";
  const std::string value = value_text(metric, mean.mean);
  return std::isnan(mean.half_width) ? value : fmt::format("{} ± {}", value, value_text(metric, mean.half_width));
}

// "test macro-F1 %", "test log-loss".
std::string column_title(const std::string& set, const std::string& metric) {
  const auto& kind = train::metric_kind(metric);
  return fmt::format("{} {}{}", set, kind.title, kind.is_share ? " %" : "");
}

std::string second_metric(const StudyPlan& plan, const EvaluationSet& set) {
  if (plan.problem_type != ProblemType::single_label_classification)
    return train::objective_of(plan.problem_type).headline_metrics().at(1);
  if (plan.metric != "accuracy") return "accuracy";
  return set.name == "test" ? "macro_f1" : "balanced_accuracy";
}

// "worse than lora": of those that are shown to beat it the one with the best mean.
std::string standing_text(const CountDecision& count, std::size_t method) {
  static constexpr const char* kStandings[] = {"as good", "worse", "undecided", "collapsed"};
  const Standing standing = count.decision.methods[method].standing;
  const std::string text = kStandings[static_cast<std::size_t>(standing)];
  if (standing != Standing::worse) return text;
  std::optional<std::size_t> better;
  for (std::size_t other = 0; other < count.contest.candidates().size(); ++other) {
    if (other != method && count.contest.is_better(other, method) &&
        (!better || count.candidate(other).mean > count.candidate(*better).mean))
      better = other;
  }
  return better ? fmt::format("{} than {}", text, count.candidate(*better).method) : text;
}

// Of methods that tie, each is named with the others.
std::string loss_text(const CountDecision& count, std::size_t method, const std::string& best) {
  const Judgement& judgement = count.decision.methods[method];
  const bool leads = count.decision.best && !count.candidate(method).collapsed &&
                     is_tie(count.candidate(method).mean, count.candidate(*count.decision.best).mean);
  if (!leads) return judgement.loss ? points(judgement.loss->mean) : "-";
  const auto others = count.leaders_beside(method);
  return others.empty() ? best + " mean" : fmt::format("{} mean, as {}", best, listed(others));
}

// Whether its loss to the best mean is shown over all pairs of the count.
bool is_loss_shown(const CountDecision& count, std::size_t method) {
  return count.contest.is_better(*count.decision.best, method) || count.contest.is_better(method, *count.decision.best);
}

}  // namespace

Table plan_table(const StudyPlan& plan, const std::vector<MethodForecast>& forecasts, const TrialSizes& sizes) {
  Table table{{"method", "samples", "search from", "trials", "steps of each", "trainable", "a step", "a trial", "all"},
              {}};
  const auto trials = Schedule(plan, {}).left();
  double total = 0;
  for (const std::int64_t samples : plan.samples) {
    for (const MethodPlan& method : plan.methods) {
      const std::string name = method.method.text();
      const auto forecast = std::find_if(forecasts.begin(), forecasts.end(),
                                         [&](const MethodForecast& candidate) { return candidate.method == name; });
      const Trial result{Trial::Phase::result, name, samples, 0, 0};
      std::size_t searched = 0;
      std::size_t results = 0;
      double seconds = 0;
      for (const Trial& trial : trials) {
        if (trial.method != name || trial.samples != samples) continue;
        ++(trial.phase == Trial::Phase::search ? searched : results);
        seconds += trial_seconds(plan, *forecast, trial, sizes);
      }
      const auto& estimate = forecast->alone;
      table.rows.push_back({name, count_text(samples),
                            method.learning_rates.size() == 1 ? rate_text(method.learning_rates[0])
                            : samples == plan.samples.front() || !method.is_searched_wide()
                                ? fmt::format("{} to {}", rate_text(method.learning_rates.front()),
                                              rate_text(method.learning_rates.back()))
                                : "the count before",
                            fmt::format("{} + {}", searched, results), count_text(plan.steps.at(samples)),
                            fmt::format("{} ({:.3g} %)", count_text(estimate.trainable_parameters),
                                        100 * static_cast<double>(estimate.trainable_parameters) /
                                            static_cast<double>(estimate.parameters)),
                            duration_text(estimate.step_seconds),
                            duration_text(trial_seconds(plan, *forecast, result, sizes)), duration_text(seconds)});
      total += seconds;
    }
  }
  table.rows.push_back({"in all", "", "", std::to_string(trials.size()), "", "", "", "", duration_text(total)});
  return table;
}

std::string seeds_text(const StudyPlan& plan, const Cell& cell) {
  std::vector<std::string> lost;
  if (!cell.failed.empty()) lost.push_back(fmt::format("{} failed", cell.failed.size()));
  if (!cell.collapsed.empty()) lost.push_back(fmt::format("{} collapsed", cell.collapsed.size()));
  return fmt::format("{} of {}{}", cell.ended, plan.seeds_of(cell.samples, cell.method).size(),
                     lost.empty() ? "" : fmt::format(" ({})", listed(lost)));
}

Table quality_table(const StudyPlan& plan, const Findings& findings) {
  Table table{{"method", "samples", "learning rate", "seeds"}, {}};
  for (const EvaluationSet& set : plan.sets) {
    table.header.push_back(column_title(set.name, plan.metric));
    table.header.push_back(column_title(set.name, second_metric(plan, set)));
  }
  for (const Cell& cell : findings.cells) {
    std::vector<std::string> row = {cell.method, count_text(cell.samples),
                                    cell.learning_rate ? rate_text(*cell.learning_rate) : "none trained"};
    if (cell.at_low_edge || cell.at_high_edge) row.back() += " (edge)";
    row.push_back(seeds_text(plan, cell));
    for (const EvaluationSet& set : plan.sets) {
      row.push_back(metric_text(cell, set.name, plan.metric));
      row.push_back(metric_text(cell, set.name, second_metric(plan, set)));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table cost_table(const Findings& findings) {
  Table table{{"method", "samples", "trainable parameters", "all-reduced a step", "samples/s", "tokens/s", "training",
               "matmuls", "of the matmul rate", "peak memory", "above the base model", "stored"},
              {}};
  const bool has_energy = std::any_of(findings.cells.begin(), findings.cells.end(),
                                      [](const Cell& cell) { return std::isfinite(cell.cost.energy_joules); });
  if (has_energy) table.header.insert(table.header.end() - 1, "energy");
  const bool has_gpu = std::any_of(findings.cells.begin(), findings.cells.end(),
                                   [](const Cell& cell) { return cell.cost.peak_host_memory_bytes.has_value(); });
  if (has_gpu) table.header.insert(table.header.end() - 1, "host memory");
  for (const Cell& cell : findings.cells) {
    if (cell.metrics.empty()) continue;
    const auto& above_base = cell.cost.peak_memory_above_base_bytes;
    table.rows.push_back({cell.method, count_text(cell.samples), count_text(cell.cost.trainable_parameters),
                          bytes_text(static_cast<double>(cell.cost.allreduce_bytes_per_step)),
                          fmt::format("{:.0f}", cell.cost.samples_per_second),
                          if_known(cell.cost.tokens_per_second, "{:.0f}"), duration_text(cell.cost.train_seconds),
                          std::isfinite(cell.cost.flop) ? flop_text(cell.cost.flop) : "-",
                          if_known(100 * cell.cost.matmul_rate_share, "{:.0f} %"),
                          bytes_text(static_cast<double>(cell.cost.peak_memory_bytes)),
                          above_base ? bytes_text(static_cast<double>(*above_base)) : "-",
                          bytes_text(static_cast<double>(cell.cost.stored_bytes))});
    if (has_energy) {
      auto& row = table.rows.back();
      const std::string& of = cell.cost.energy_of;
      const std::string note = of.empty() || of == "cpu" ? "" : fmt::format(" ({})", of);
      row.insert(row.end() - 1, if_known(cell.cost.energy_joules, "{:.4g} J") + note);
    }
    if (has_gpu) {
      auto& row = table.rows.back();
      const auto& host = cell.cost.peak_host_memory_bytes;
      row.insert(row.end() - 1, host ? bytes_text(static_cast<double>(*host)) : "-");
    }
  }
  return table;
}

std::string measured_on_text(const Findings& findings) {
  std::vector<std::pair<std::string, std::vector<std::string>>> machines;
  for (const Cell& cell : findings.cells) {
    const Cost& cost = cell.cost;
    if (cell.metrics.empty() || !cost.ranks || !cost.threads_per_rank) continue;
    const std::string machine =
        fmt::format("{} rank{} with {} thread{}{}", *cost.ranks, *cost.ranks == 1 ? "" : "s", *cost.threads_per_rank,
                    *cost.threads_per_rank == 1 ? "" : "s", *cost.ranks == 1 ? "" : " each");
    auto found =
        std::find_if(machines.begin(), machines.end(), [&](const auto& entry) { return entry.first == machine; });
    if (found == machines.end()) {
      machines.emplace_back(machine, std::vector<std::string>());
      found = std::prev(machines.end());
    }
    found->second.push_back(fmt::format("{} at {}", cell.method, count_text(cell.samples)));
  }
  if (machines.empty()) return "";
  if (machines.size() == 1)
    return fmt::format(
        "Samples/s, tokens/s and seconds of training were measured on {}, one group of the study; on "
        "other numbers of ranks or threads they are others.",
        machines[0].first);
  std::vector<std::string> all;
  for (const auto& [machine, cells] : machines) all.push_back(fmt::format("{} ({})", machine, listed(cells)));
  return fmt::format("Samples/s, tokens/s and seconds of training were measured on {}: they do not compare.",
                     fmt::join(all, "; on "));
}

Table forgetting_table(const Findings& findings) {
  std::set<std::string> measures;
  for (const Cell& cell : findings.cells) {
    for (const auto& [measure, mean] : cell.forgetting) {
      if (!is_before(measure)) measures.insert(measure);
    }
  }
  Table table{{"method", "samples"}, {}};
  for (const std::string& measure : measures) table.header.push_back(forgetting_words(measure));
  for (const Cell& cell : findings.cells) {
    if (cell.forgetting.empty()) continue;
    std::vector<std::string> row = {cell.method, count_text(cell.samples)};
    for (const std::string& measure : measures) {
      const auto found = cell.forgetting.find(measure);
      row.push_back(found == cell.forgetting.end() ? "-"
                    : std::isnan(found->second.half_width)
                        ? thousandths(found->second.mean)
                        : fmt::format("{} ± {:.3f}", thousandths(found->second.mean), found->second.half_width));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table forgetting_pair_table(const Findings& findings) {
  Table table{{"forgetting", "samples", "difference", "value", "95 % interval", "Holm's p", "shown"}, {}};
  for (const ForgettingComparison& comparison : findings.forgetting) {
    const SeedMean& difference = comparison.difference;
    std::vector<std::string> row = {forgetting_words(comparison.measure), count_text(comparison.samples),
                                    fmt::format("{} - {}", comparison.first, comparison.second),
                                    signed_thousandths(difference.mean)};
    if (std::isnan(comparison.adjusted_p)) {
      row.insert(row.end(), {"one seed", "-", "-"});
    } else {
      row.push_back(std::isnan(difference.half_width)
                        ? "not known"
                        : fmt::format("{} to {}", signed_thousandths(difference.mean - difference.half_width),
                                      signed_thousandths(difference.mean + difference.half_width)));
      row.push_back(comparison.adjusted_p < 0.001 ? "< 0.001" : fmt::format("{:.3f}", comparison.adjusted_p));
      row.push_back(shown_text(comparison.p, comparison.shown()));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table decision_table(const StudyPlan& plan, const Findings& findings) {
  const std::string best = best_word(plan.metric);
  Table table{{"method", "samples", "standing", fmt::format("loss to the {} mean", best), "95 % interval", "shown",
               fmt::format("chance to lose no more than {}", points(plan.margin)), "training"},
              {}};
  for (const CountDecision& count : findings.decisions) {
    for (std::size_t i = 0; i < count.decision.methods.size(); ++i) {
      const Judgement& judgement = count.decision.methods[i];
      std::string standing = standing_text(count, i);
      if (count.decision.advised == i) standing += ", advised";
      table.rows.push_back({count.candidate(i).method, count_text(count.samples), standing, loss_text(count, i, best),
                            judgement.loss ? interval_points(*judgement.loss, plan.metric) : "",
                            judgement.loss ? shown_text(judgement.loss->p_value(), is_loss_shown(count, i)) : "",
                            std::isnan(judgement.within_margin) ? "-" : probability_text(judgement.within_margin),
                            duration_text(count.candidate(i).train_seconds)});
    }
  }
  return table;
}

Table pair_table(const StudyPlan& plan, const Findings& findings) {
  Table table{{"set", "samples", "difference", "points", "95 % interval", "Holm's p", "shown", "no difference beyond"},
              {}};
  for (const Comparison& comparison : findings.comparisons) {
    const PairedDifference difference = comparison.in_metric(plan.metric);
    std::vector<std::string> row = {comparison.set, count_text(comparison.samples),
                                    fmt::format("{} - {}", comparison.first, comparison.second),
                                    signed_points(difference.mean)};
    if (std::isnan(comparison.adjusted_p)) {
      row.insert(row.end(), {"one seed", "-", "-", "-"});
    } else {
      row.push_back(interval_points(difference, plan.metric));
      row.push_back(comparison.adjusted_p < 0.001 ? "< 0.001" : fmt::format("{:.3f}", comparison.adjusted_p));
      row.push_back(shown_text(difference.p_value(), comparison.shown()));
      row.push_back(comparison.shown_alone() ? "-" : fmt::format("{:.1f}", 100 * difference.equivalence_bound()));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table search_table(const StudyPlan& plan, const Findings& findings) {
  Table table{{"method", "samples", "learning rate", "of the steps", "dev " + plan.select_metric, ""}, {}};
  for (const Cell& cell : findings.cells) {
    const auto was_left = [&](double rate) {
      return std::find(cell.left_rates.begin(), cell.left_rates.end(), rate) != cell.left_rates.end();
    };
    const auto add = [&](double rate, const std::string& share, const std::string& dev, const std::string& note) {
      table.rows.push_back({cell.method, count_text(cell.samples), rate_text(rate), share, dev, note});
    };
    for (const SearchPoint& point : cell.search) {
      const bool is_whole = point.length == 1;
      add(point.learning_rate, fmt::format("{:.0f} %", 100 * point.length),
          std::isnan(point.dev) ? "failed" : fmt::format("{:.4f}", point.dev),
          is_whole && cell.learning_rate == point.learning_rate ? "chosen"
          : is_whole && was_left(point.learning_rate)           ? "left after its results"
                                                                : "");
    }
    const auto was_trained_whole = [&](double rate) {
      return std::any_of(cell.search.begin(), cell.search.end(),
                         [&](const SearchPoint& point) { return point.length == 1 && point.learning_rate == rate; });
    };
    if (cell.search.empty() || !cell.learning_rate) continue;
    for (const double rate : cell.left_rates) {
      if (!was_trained_whole(rate))
        add(rate, "100 %", "", "inferred from the shorter trainings, left after its results");
    }
    if (!was_trained_whole(*cell.learning_rate)) {
      add(*cell.learning_rate, "100 %", "",
          cell.left_rates.empty() ? "inferred from the shorter trainings" : "taken after the results of the others");
    }
  }
  return table;
}

}  // namespace dtrain::study
