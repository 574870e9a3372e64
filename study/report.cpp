#include "study/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <set>
#include <utility>

#include "base/log.h"
#include "study/tables.h"

namespace dtrain::study {
namespace {

using nlohmann::json;

json number(double value) { return std::isnan(value) ? json(nullptr) : json(value); }

json cell_json(const Cell& cell) {
  json metrics = json::object();
  for (const auto& [set, values] : cell.metrics) {
    for (const auto& [name, mean] : values) {
      metrics[set][name] = {{"mean", number(mean.mean)},
                            {"deviation", number(mean.deviation)},
                            {"half_width", number(mean.half_width)},
                            {"seeds", mean.seeds}};
    }
  }
  json search = json::array();
  for (const auto& [rate, value] : cell.search) search.push_back({{"learning_rate", rate}, {"dev", number(value)}});
  return {{"method", cell.method},
          {"samples", cell.samples},
          {"learning_rate", cell.learning_rate ? json(*cell.learning_rate) : json(nullptr)},
          {"at_grid_edge", cell.at_low_edge    ? json("low")
                           : cell.at_high_edge ? json("high")
                                               : json(nullptr)},
          {"search", search},
          {"metrics", metrics},
          {"failed_seeds", cell.failed},
          {"collapsed_seeds", cell.collapsed},
          {"cost", train::cost_json(cell.cost)}};
}

json comparison_json(const Comparison& comparison) {
  const PairedDifference& difference = comparison.difference;
  const Interval interval = difference.interval(0.95);
  return {{"set", comparison.set},
          {"samples", comparison.samples},
          {"first", comparison.first},
          {"second", comparison.second},
          {"metric", "accuracy"},
          {"difference", difference.mean},
          {"interval", {number(interval.low), number(interval.high)}},
          {"seed_variance", number(difference.seed_variance)},
          {"example_variance", number(difference.example_variance)},
          {"rest_variance", number(difference.rest_variance)},
          {"p", number(difference.p_value())},
          {"holm_p", number(comparison.adjusted_p)},
          {"equivalence_bound", number(difference.equivalence_bound())},
          {"shown", comparison.shown()}};
}

// What a reader must know to read the numbers, and what cannot be read from them.
std::vector<std::string> reading_notes(const Report& report) {
  const StudyPlan& plan = report.plan;
  std::vector<std::string> notes = {
      fmt::format("Learning rates are chosen on dev ({}) with seed {}; results are means over the seeds {}, each with "
                  "its own head, order, dropout and draw of the training examples, the same for every method.",
                  plan.select_metric, plan.search_seed, fmt::join(plan.result_seeds, ", ")),
      "± is Student's 95 % t interval over those seeds, on the same test examples.",
      "Intervals of differences hold seeds and test examples (two-way variance components over paired answers, each "
      "with its own t quantile; Banerjee, 1960). A method wins where Holm's p over all pairs and sample counts of a "
      "set "
      "is below 0.05. Methods are equal within the far end of their interval (two one-sided tests at 2.5 %)."};
  for (const EvaluationSet& set : plan.sets) {
    if (set.examples > 0) {
      notes.push_back(
          fmt::format("{} (methods that disagree on 6 % of them). Always answering the most frequent class "
                      "has {:.1f} % accuracy.",
                      resolution_text(set), 100 * set.majority_share));
    }
  }
  std::set<int> ranks;
  for (const auto& [key, trial] : report.finished) ranks.insert(trial.second.ranks);
  if (ranks.size() > 1) {
    notes.push_back(fmt::format("The trials ran on different numbers of ranks ({}): their costs do not compare.",
                                fmt::join(ranks, ", ")));
  }
  notes.insert(notes.end(), report.notes.begin(), report.notes.end());
  return notes;
}

}  // namespace

Report make_report(StudyPlan plan, FinishedTrials finished) {
  Report report;
  report.findings = analyse(plan, finished);
  report.verdicts = verdicts(plan, report.findings);
  report.plan = std::move(plan);
  report.finished = std::move(finished);
  return report;
}

json results_json(const Report& report) {
  json trials = json::array();
  for (const auto& [key, trial] : report.finished) {
    json line = trial_json(trial.first, trial.second);
    line.erase("scores");
    line["model"] = report.plan.model;
    line["task"] = report.plan.task;
    line["subset_seed"] = report.plan.subset_seed_of(trial.first.seed);
    trials.push_back(std::move(line));
  }
  json cells = json::array();
  for (const Cell& cell : report.findings.cells) cells.push_back(cell_json(cell));
  json comparisons = json::array();
  for (const Comparison& comparison : report.findings.comparisons) comparisons.push_back(comparison_json(comparison));
  return {{"schema", 1},
          {"machine", report.machine},
          {"plan", plan_json(report.plan)},
          {"trials", trials},
          {"cells", cells},
          {"comparisons", comparisons},
          {"verdict", verdict_json(report.verdicts)},
          {"notes", reading_notes(report)}};
}

std::string terminal_text(const Report& report) {
  std::string text = "\n" + terminal_table(quality_table(report.plan, report.findings)) + "\n" +
                     terminal_table(cost_table(report.findings));
  for (const Verdict& verdict : report.verdicts) {
    text += fmt::format("\n{} samples\n", count_text(verdict.samples));
    for (const auto& finding : verdict.findings) text += fmt::format("  {}\n", finding);
    text += fmt::format("  {}\n", verdict.advice);
    for (const auto& warning : verdict.warnings) text += fmt::format("  Note: {}\n", warning);
  }
  return text + fmt::format("\n{}\n", trend(report.verdicts));
}

std::string markdown_text(const Report& report) {
  const StudyPlan& plan = report.plan;
  std::string text =
      fmt::format("# Fine-tuning compared: {} on {}\n\n{}\n\n## Verdict\n", plan.model, plan.task, report.machine);
  for (const Verdict& verdict : report.verdicts) {
    text += fmt::format("\n### {} samples\n\n", count_text(verdict.samples));
    for (const auto& finding : verdict.findings) text += fmt::format("- {}\n", finding);
    text += fmt::format("\n**Advice.** {}\n", verdict.advice);
    for (const auto& warning : verdict.warnings) text += fmt::format("\n> {}\n", warning);
  }
  text += fmt::format("\n{}\n", trend(report.verdicts));
  text += "\n## Quality\n\n" + markdown_table(quality_table(plan, report.findings));
  text += "\n## Cost\n\n" + markdown_table(cost_table(report.findings));
  text += "\n## Pairs\n\n" + markdown_table(pair_table(report.findings));
  const Table search = search_table(plan, report.findings);
  if (!search.rows.empty()) text += "\n## Search\n\n" + markdown_table(search);
  text += "\n## How to read it\n\n";
  for (const auto& note : reading_notes(report)) text += fmt::format("- {}\n", note);
  text += fmt::format("\n## How to repeat it\n\n    {}\n\nWhat decides the numbers:\n\n", report.command);
  for (const auto& [name, value] : plan.identity) text += fmt::format("- {}: {}\n", name, value);
  return text;
}

}  // namespace dtrain::study
