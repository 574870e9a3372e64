#include "study/report/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/json_file.h"
#include "base/log.h"
#include "study/findings/advice.h"
#include "study/findings/class_scores.h"
#include "study/findings/words.h"
#include "study/plan/example_values.h"
#include "study/plan/schedule.h"
#include "study/plan/search.h"
#include "study/report/tables.h"
#include "train/objective.h"

namespace dtrain::study {
namespace {

using nlohmann::json;

// What a decision hung on got more seeds than these: " At 1,000 samples also ...: full seed 4."
std::string added_seeds_text(const StudyPlan& plan) {
  std::string text;
  for (const auto& [samples, of_count] : plan.more_seeds) {
    std::vector<std::string> added;
    for (const auto& [method, seeds] : of_count)
      added.push_back(fmt::format("{} seed{} {}", method, seeds.size() == 1 ? "" : "s", fmt::join(seeds, ", ")));
    text += fmt::format(" At {} samples also, because the answer hung on them: {}.", count_text(samples),
                        fmt::join(added, "; "));
  }
  return text;
}

json seed_mean_json(const SeedMean& mean) {
  return {{"mean", number_or_null(mean.mean)},
          {"deviation", number_or_null(mean.deviation)},
          {"half_width", number_or_null(mean.half_width)},
          {"seeds", mean.seeds}};
}

// By set and class.
json class_scores_json(const Report& report, const Cell& cell) {
  json sets = json::object();
  for (const EvaluationSet& set : report.plan.sets) {
    for (const ClassScore& score : class_scores(report.plan, report.finished, cell, set)) {
      sets[set.name][report.class_name(score.label)] = {{"examples", score.examples},
                                                        {"precision", score.precision.mean},
                                                        {"recall", score.recall.mean},
                                                        {"f1", seed_mean_json(score.f1)}};
    }
  }
  return sets;
}

json cell_json(const Report& report, const Cell& cell) {
  json metrics = json::object();
  for (const auto& [set, values] : cell.metrics) {
    for (const auto& [name, mean] : values) metrics[set][name] = seed_mean_json(mean);
  }
  json forgetting = json::object();
  for (const auto& [measure, mean] : cell.forgetting) forgetting[measure] = seed_mean_json(mean);
  json search = json::array();
  for (const SearchPoint& point : cell.search)
    search.push_back(
        {{"learning_rate", point.learning_rate}, {"length", point.length}, {"dev", number_or_null(point.dev)}});
  json share = nullptr;
  if (cell.ended > 0) {
    const auto collapsed = static_cast<std::int64_t>(cell.collapsed.size());
    const Interval interval = proportion_interval(collapsed, cell.ended, 0.95);
    share = {{"mean", static_cast<double>(collapsed) / static_cast<double>(cell.ended)},
             {"interval", {interval.low, interval.high}}};
  }
  return {{"method", cell.method},
          {"samples", cell.samples},
          {"learning_rate", cell.learning_rate ? json(*cell.learning_rate) : json(nullptr)},
          {"at_grid_edge", cell.at_low_edge    ? json("low")
                           : cell.at_high_edge ? json("high")
                                               : json(nullptr)},
          {"left_rates", cell.left_rates},
          {"search", search},
          {"metrics", metrics},
          {"classes", class_scores_json(report, cell)},
          {"forgetting", forgetting},
          {"failed_seeds", cell.failed},
          {"collapsed_seeds", cell.collapsed},
          {"collapsed_share", share},
          {"cost", train::cost_json(cell.cost)},
          {"search_seconds", cell.search_seconds},
          {"result_seconds", cell.result_seconds}};
}

json forgetting_comparison_json(const ForgettingComparison& comparison) {
  const SeedMean& difference = comparison.difference;
  return {{"measure", comparison.measure},
          {"samples", comparison.samples},
          {"first", comparison.first},
          {"second", comparison.second},
          {"difference", difference.mean},
          {"interval",
           {number_or_null(difference.mean - difference.half_width),
            number_or_null(difference.mean + difference.half_width)}},
          {"seeds", difference.seeds},
          {"p", number_or_null(comparison.p)},
          {"holm_p", number_or_null(comparison.adjusted_p)},
          {"shown", comparison.shown()}};
}

json comparison_json(const Comparison& comparison, const std::string& metric) {
  const PairedDifference difference = comparison.in_metric(metric);
  const Interval interval = difference.interval(0.95);
  return {{"set", comparison.set},
          {"samples", comparison.samples},
          {"first", comparison.first},
          {"second", comparison.second},
          {"metric", metric},
          {"difference", difference.mean},
          {"interval", {number_or_null(interval.low), number_or_null(interval.high)}},
          {"seed_variance", number_or_null(difference.seed_variance)},
          {"example_variance", number_or_null(difference.example_variance)},
          {"rest_variance", number_or_null(difference.rest_variance)},
          {"p", number_or_null(difference.p_value())},
          {"holm_p", number_or_null(comparison.adjusted_p)},
          {"equivalence_bound", number_or_null(difference.equivalence_bound())},
          {"shown", comparison.shown()}};
}

}  // namespace

Progress Report::progress() const {
  const auto count = static_cast<std::int64_t>(finished.size());
  if (run.ended) return {count, count};
  return {count, static_cast<std::int64_t>(Schedule(plan, finished).expected())};
}

std::string Report::class_name(std::int32_t label) const {
  const auto place = static_cast<std::size_t>(label);
  return place < labels.size() ? labels[place] : fmt::format("class {}", label);
}

std::vector<std::string> reading_notes(const Report& report) {
  const StudyPlan& plan = report.plan;
  const bool searched = chooses_rates(plan);
  const std::string rates =
      searched ? fmt::format("Learning rates are chosen on dev ({}) with seed {}", plan.select_metric, plan.search_seed)
               : fmt::format("Learning rates are as given, steps are chosen on dev ({})", plan.select_metric);
  std::vector<std::string> notes = {
      fmt::format(
          "{}; results are {} {}, each with its own head, order, dropout and draw of the training examples, the "
          "same for every method.{}",
          rates, plan.result_seeds.size() == 1 ? "of seed" : "means over the seeds", fmt::join(plan.result_seeds, ", "),
          added_seeds_text(plan)),
      "± is Student's 95 % t interval over those seeds, on the same test examples.",
      fmt::format(
          "Intervals of differences hold seeds and test examples (variance components of the paired answers, "
          "Behrens-Fisher distribution), and are of that pair alone: of 20 about one misses the truth. A method beats "
          "another where Holm's p over all pairs of a set at a sample count is below {:g}{}; \"this pair alone\" and "
          "\"each pair by itself\" say that it is not, though the interval leaves out zero. Not told apart: the "
          "interval holds zero. Methods are equal within its far end (two one-sided tests at 2.5 %).",
          kLevel,
          plan.more_seeds.empty() ? ""
                                  : fmt::format(", below {:g} where seeds were added because the answer hung on them",
                                                kLevelWithAddedSeeds)),
      fmt::format("As good: shown to lose no more than {} points ({}; --margin) to any other method, at the same level "
                  "over the methods. The cheapest of those is advised (docs/statistics.md).",
                  points(plan.margin), metric_words(plan.metric)),
      "Matmuls: the floating-point operations of a training's matmuls, forward and backward, counted; beside them "
      "their share of what the machine's matmuls do in that time, measured at the beginning."};
  if (!train::metric_kind(plan.metric).is_share)
    notes.push_back(
        fmt::format("Means of {} are as it is; differences of it are in points of 0.01.", metric_words(plan.metric)));
  if (!train::larger_is_better(plan.metric)) {
    notes.push_back(
        fmt::format("Of {} less is better: what a method beats another by, or loses to it, is a difference "
                    "the other way round.",
                    metric_words(plan.metric)));
  }
  if (searched) {
    notes.push_back(
        "One seed chose the learning rates: another might have chosen others, which no interval here holds. A small "
        "lead is to be checked with another --seed.");
  }
  for (const EvaluationSet& set : plan.sets) {
    if (set.examples == 0) continue;
    const auto& objective = train::objective_of(plan.problem_type);
    if (plan.problem_type == ProblemType::single_label_classification && train::metric_kind(plan.metric).is_share)
      notes.push_back(fmt::format("{} (methods that disagree on 6 % of them).", resolution_text(plan, set)));
    notes.push_back(fmt::format("{}: always giving the same answer has {:.1f} % {} at best.", set.name,
                                100 * set.majority_share, metric_words(objective.score_metric())));
  }
  for (const EvaluationSet& set : plan.sets) {
    if (set.majority_share > 0.5 && plan.metric == "accuracy") {
      notes.push_back(fmt::format(
          "The most frequent class has {:.0f} % of the {} examples, so that accuracy says little of the others: "
          "--metric balanced_accuracy compares by the mean over classes, --metric macro_f1 by the mean of their F1, "
          "which what is wrongly taken for a class lowers, too.",
          100 * set.majority_share, set.name));
    }
  }
  if (const std::int64_t without = results_without_values(plan, report.finished); without > 0) {
    notes.push_back(
        fmt::format("{} result{} kept by an earlier version, without what {} is computed from: no method is compared "
                    "with them by it.",
                    without, without == 1 ? " was" : "s were", metric_words(plan.metric)));
  }
  std::set<int> ranks;
  for (const auto& [key, trial] : report.finished) ranks.insert(trial.second.ranks);
  if (ranks.size() > 1) {
    notes.push_back(fmt::format("The trials ran on different numbers of ranks ({}): their costs do not compare.",
                                fmt::join(ranks, ", ")));
  }
  for (const std::string& change : plan.changes) notes.push_back(fmt::format("The plan was shortened: {}.", change));
  notes.insert(notes.end(), report.notes.begin(), report.notes.end());
  return notes;
}

Report make_report(StudyPlan plan, FinishedTrials finished, const MethodCosts& costs) {
  Report report;
  finished = trials_of(plan, finished);
  report.findings = analyse(plan, finished, costs);
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
    line.erase("predicted");
    line.erase("confidences");
    line.erase("values");
    line.erase("spent");
    line["model"] = report.plan.model;
    line["task"] = report.plan.task;
    line["subset_seed"] = report.plan.subset_seed_of(trial.first.seed);
    trials.push_back(std::move(line));
  }
  json cells = json::array();
  for (const Cell& cell : report.findings.cells) cells.push_back(cell_json(report, cell));
  json comparisons = json::array();
  for (const Comparison& comparison : report.findings.comparisons)
    comparisons.push_back(comparison_json(comparison, report.plan.metric));
  json forgetting = json::array();
  for (const ForgettingComparison& comparison : report.findings.forgetting)
    forgetting.push_back(forgetting_comparison_json(comparison));
  json plan = plan_json(report.plan);
  for (auto& set : plan["sets"]) set.erase("labels");  // thousands of numbers that the journal has
  json run = run_facts_json(report.run);
  run["changes"] = report.plan.changes;
  plan.erase("changes");
  const Progress progress = report.progress();
  return {{"schema", 1},
          {"machine", report.machine},
          {"begun", report.begun},
          {"command", report.command},
          {"versions", report.versions},
          {"labels", report.labels},
          {"run", run},
          {"progress", {{"finished", progress.finished}, {"planned", progress.planned}}},
          {"plan", plan},
          {"trials", trials},
          {"cells", cells},
          {"comparisons", comparisons},
          {"forgetting_comparisons", forgetting},
          {"verdict", verdict_json(report.plan, report.findings, report.verdicts)},
          {"notes", reading_notes(report)}};
}

json setting_json(const Report& report) {
  return {{"schema", 1},
          {"begun", report.begun},
          {"machine", report.machine},
          {"command", report.command},
          {"training_options", report.training_options},
          {"versions", report.versions},
          {"labels", report.labels},
          {"notes", report.notes}};
}

void take_setting(const json& setting, Report& report) {
  setting.at("begun").get_to(report.begun);
  setting.at("machine").get_to(report.machine);
  setting.at("command").get_to(report.command);
  report.training_options = setting.value("training_options", "");  // earlier versions did not write them
  setting.at("versions").get_to(report.versions);
  setting.at("labels").get_to(report.labels);
  setting.at("notes").get_to(report.notes);
}

std::string terminal_text(const Report& report) {
  std::string text;
  const std::vector<std::pair<Table, std::string>> tables = {
      {quality_table(report.plan, report.findings), ""},
      {cost_table(report.findings), measured_on_text(report.findings)},
      {decision_table(report.plan, report.findings), ""},
      {forgetting_table(report.findings), ""}};
  for (const auto& [table, note] : tables) {
    if (table.rows.empty()) continue;
    text += "\n" + terminal_table(table);
    if (!note.empty()) text += note + "\n";
  }
  for (const Verdict& verdict : report.verdicts) {
    text += fmt::format("\n{} samples\n", count_text(verdict.samples));
    for (const auto& finding : verdict.findings) text += fmt::format("  {}\n", finding);
    text += fmt::format("  {}\n", verdict.advice);
    for (const auto& warning : verdict.warnings) text += fmt::format("  Note: {}\n", warning);
  }
  return text + fmt::format("\n{}\n", trend_text(report.plan, report.findings));
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
  text += fmt::format("\n{}\n", trend_text(report.plan, report.findings));
  const Table decisions = decision_table(plan, report.findings);
  if (!decisions.rows.empty()) text += "\n" + markdown_table(decisions);
  text += "\n## Quality\n\n" + markdown_table(quality_table(plan, report.findings));
  text += "\n## Cost\n\n" + markdown_table(cost_table(report.findings));
  if (const std::string note = measured_on_text(report.findings); !note.empty()) text += fmt::format("\n{}\n", note);
  const Table forgotten = forgetting_table(report.findings);
  if (!forgotten.rows.empty()) {
    text += "\n## Forgetting\n\n" + markdown_table(forgotten) + "\n" +
            markdown_table(forgetting_pair_table(report.findings));
  }
  text += "\n## Pairs\n\n" + markdown_table(pair_table(plan, report.findings));
  const Table search = search_table(plan, report.findings);
  if (!search.rows.empty()) text += "\n## Search\n\n" + markdown_table(search);
  text += "\n## How to read it\n\n";
  for (const auto& note : reading_notes(report)) text += fmt::format("- {}\n", note);
  text += fmt::format("\n## How to repeat it\n\n    {}\n\nWhat decides the numbers:\n\n", report.command);
  for (const auto& [name, value] : plan.identity) text += fmt::format("- {}: {}\n", name, value);
  return text;
}

}  // namespace dtrain::study
