#include "study/tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "study/words.h"
#include "train/objective.h"

namespace dtrain::study {
namespace {

std::string percent(const SeedMean& mean) {
  return std::isnan(mean.half_width) ? fmt::format("{:.1f}", 100 * mean.mean)
                                     : fmt::format("{:.1f} ± {:.1f}", 100 * mean.mean, 100 * mean.half_width);
}

std::string metric_text(const Cell& cell, const std::string& set, const std::string& metric) {
  const auto found = cell.metrics.find(set);
  if (found == cell.metrics.end() || found->second.count(metric) == 0) return "-";
  return percent(found->second.at(metric));
}

// "test macro-F1 %"; what is no share is shown in hundredths, too.
std::string column_title(const std::string& set, const std::string& metric) {
  const auto& kind = train::metric_kind(metric);
  return fmt::format("{} {} {}", set, kind.title, kind.is_share ? "%" : "x 100");
}

std::string second_metric(const StudyPlan& plan, const EvaluationSet& set) {
  if (plan.problem_type != ProblemType::single_label_classification)
    return train::objective_of(plan.problem_type).headline_metrics().at(1);
  if (plan.metric == "balanced_accuracy") return "accuracy";
  return set.name == "test" ? "macro_f1" : "balanced_accuracy";
}

}  // namespace

Table plan_table(const StudyPlan& plan, const std::vector<MethodForecast>& forecasts, const TrialSizes& sizes) {
  Table table{{"method", "samples", "learning rates", "trials", "steps of each", "trainable", "all-reduced a step",
               "a trial", "all"},
              {}};
  std::size_t trials = 0;
  double total = 0;
  for (const std::int64_t samples : plan.samples) {
    for (const MethodPlan& method : plan.methods) {
      const auto forecast = std::find_if(forecasts.begin(), forecasts.end(), [&](const MethodForecast& candidate) {
        return candidate.method == method.method.text();
      });
      const auto search = search_trials(plan, method, samples);
      const Trial result{Trial::Phase::result, method.method.text(), samples, 0, 0};
      const double each = trial_seconds(*forecast, result, sizes);
      double seconds = each * static_cast<double>(plan.result_seeds.size());
      for (const Trial& trial : search) seconds += trial_seconds(*forecast, trial, sizes);
      std::string rates;
      for (const double rate : method.learning_rates) rates += (rates.empty() ? "" : ", ") + rate_text(rate);
      const auto& estimate = forecast->estimate;
      table.rows.push_back(
          {method.method.text(), count_text(samples), rates,
           fmt::format("{} + {}", search.size(), plan.result_seeds.size()), count_text(sizes.steps.at(samples)),
           fmt::format(
               "{} ({:.3g} %)", count_text(estimate.trainable_parameters),
               100 * static_cast<double>(estimate.trainable_parameters) / static_cast<double>(estimate.parameters)),
           bytes_text(static_cast<double>(estimate.allreduce_bytes)), duration_text(each), duration_text(seconds)});
      trials += search.size() + plan.result_seeds.size();
      total += seconds;
    }
  }
  table.rows.push_back({"in all", "", "", std::to_string(trials), "", "", "", "", duration_text(total)});
  return table;
}

Table quality_table(const StudyPlan& plan, const Findings& findings) {
  Table table{{"method", "samples", "learning rate"}, {}};
  for (const EvaluationSet& set : plan.sets) {
    const std::string name = set.name == "test" ? "test" : set.name.substr(set.name.find('.') + 1);
    table.header.push_back(column_title(name, plan.metric));
    table.header.push_back(column_title(name, second_metric(plan, set)));
  }
  for (const Cell& cell : findings.cells) {
    std::vector<std::string> row = {cell.method, count_text(cell.samples),
                                    cell.learning_rate ? rate_text(*cell.learning_rate) : "none trained"};
    if (cell.at_low_edge || cell.at_high_edge) row.back() += " (edge)";
    for (const EvaluationSet& set : plan.sets) {
      row.push_back(metric_text(cell, set.name, plan.metric));
      row.push_back(metric_text(cell, set.name, second_metric(plan, set)));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table cost_table(const Findings& findings) {
  Table table{{"method", "samples", "trainable parameters", "all-reduced a step", "samples/s", "training",
               "peak memory", "stored"},
              {}};
  for (const Cell& cell : findings.cells) {
    if (cell.metrics.empty()) continue;
    table.rows.push_back({cell.method, count_text(cell.samples), count_text(cell.cost.trainable_parameters),
                          bytes_text(static_cast<double>(cell.cost.allreduce_bytes_per_step)),
                          fmt::format("{:.0f}", cell.cost.samples_per_second), duration_text(cell.cost.train_seconds),
                          bytes_text(static_cast<double>(cell.cost.peak_memory_bytes)),
                          bytes_text(static_cast<double>(cell.cost.stored_bytes))});
  }
  return table;
}

Table decision_table(const StudyPlan& plan, const Findings& findings) {
  Table table{{"method", "samples", "standing", "loss to the highest mean", "95 % interval",
               fmt::format("chance of no more than {}", points(plan.margin)), "training"},
              {}};
  static constexpr const char* kStandings[] = {"as good", "worse", "undecided", "collapsed"};
  for (const CountDecision& count : findings.decisions) {
    for (std::size_t i = 0; i < count.decision.methods.size(); ++i) {
      const Judgement& judgement = count.decision.methods[i];
      std::string standing = kStandings[static_cast<std::size_t>(judgement.standing)];
      if (count.decision.advised == i) standing += ", advised";
      table.rows.push_back(
          {count.candidate(i).method, count_text(count.samples), standing,
           judgement.loss ? points(judgement.loss->mean) : (count.decision.best == i ? "highest mean" : "-"),
           judgement.loss ? interval_points(*judgement.loss) : "",
           std::isnan(judgement.within_margin) ? "-" : probability_text(judgement.within_margin),
           duration_text(count.candidate(i).train_seconds)});
    }
  }
  return table;
}

Table pair_table(const Findings& findings) {
  Table table{{"set", "samples", "difference", "points", "95 % interval", "Holm's p", "equal within"}, {}};
  for (const Comparison& comparison : findings.comparisons) {
    const PairedDifference& difference = comparison.difference;
    std::vector<std::string> row = {comparison.set, count_text(comparison.samples),
                                    fmt::format("{} - {}", comparison.first, comparison.second),
                                    fmt::format("{:+.1f}", 100 * difference.mean)};
    if (std::isnan(comparison.adjusted_p)) {
      row.insert(row.end(), {"one seed", "-", "-"});
    } else {
      row.push_back(interval_points(difference));
      row.push_back(comparison.adjusted_p < 0.001 ? "< 0.001" : fmt::format("{:.3f}", comparison.adjusted_p));
      row.push_back(comparison.shown() ? "-" : fmt::format("{:.1f}", 100 * difference.equivalence_bound()));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table search_table(const StudyPlan& plan, const Findings& findings) {
  Table table{{"method", "samples", "learning rate", "of the steps", "dev " + plan.select_metric, ""}, {}};
  for (const Cell& cell : findings.cells) {
    for (const SearchPoint& point : cell.search) {
      table.rows.push_back({cell.method, count_text(cell.samples), rate_text(point.learning_rate),
                            fmt::format("{:.0f} %", 100 * point.length),
                            std::isnan(point.dev) ? "failed" : fmt::format("{:.4f}", point.dev),
                            cell.learning_rate == point.learning_rate && point.length == 1 ? "chosen" : ""});
    }
  }
  return table;
}

}  // namespace dtrain::study
