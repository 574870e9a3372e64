#include "study/findings/verdict.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/json_file.h"
#include "base/log.h"
#include "study/findings/advice.h"
#include "study/findings/words.h"
#include "train/objective.h"

namespace dtrain::study {
namespace {

using nlohmann::json;

// A bound of ten of these or more is no finding: whoever reads the sentence knew as much before. Points; of a metric
// that is no share, whose size may be any, margins.
double unit_of(const StudyPlan& plan) { return train::metric_kind(plan.metric).is_share ? 0.01 : plan.margin; }

std::string set_title(const std::string& set) {
  return set == "test" ? "On test" : fmt::format("Out of domain ({})", set.substr(set.find('.') + 1));
}

const SeedMean& seed_mean_of(const Cell& cell, const std::string& set, const std::string& metric) {
  return cell.metrics.at(set).at(metric);
}

// The methods that have a result at a sample count, the best mean first.
std::vector<const Cell*> ranked(const Findings& findings, const std::string& set, const std::string& metric,
                                std::int64_t samples) {
  std::vector<const Cell*> cells;
  for (const Cell& cell : findings.cells) {
    const auto metrics = cell.metrics.find(set);
    if (cell.samples == samples && metrics != cell.metrics.end() && metrics->second.count(metric) > 0 &&
        std::isfinite(metrics->second.at(metric).mean))
      cells.push_back(&cell);
  }
  std::stable_sort(cells.begin(), cells.end(), [&](const Cell* left, const Cell* right) {
    return train::merit(metric, seed_mean_of(*left, set, metric).mean) >
           train::merit(metric, seed_mean_of(*right, set, metric).mean);
  });
  return cells;
}

// What an interval that is no proof of a difference still says of the second method.
std::string indistinct(const StudyPlan& plan, const Comparison& comparison) {
  const PairedDifference& difference = comparison.difference;
  const double bound = difference.equivalence_bound();
  if (bound > 10 * unit_of(plan)) {
    const bool seeds_help = difference.projected(100, 1).half_width(0.95) <= 10 * unit_of(plan);
    return fmt::format("{} ({} points): too few {} to say", comparison.second, signed_points(difference.mean),
                       seeds_help ? "seeds" : "examples");
  }
  const bool same = difference.mean == 0 && difference.seed_variance == 0 && difference.example_variance == 0 &&
                    difference.rest_variance == 0;
  const std::string measured =
      same ? fmt::format("{} (the same score on every example)", comparison.second)
           : fmt::format("{} ({} points, {})", comparison.second, signed_points(difference.mean),
                         interval_points(difference, plan.metric));
  return bound < unit_of(plan) ? fmt::format("{}: they are equal within {} points", measured, points(bound))
                               : fmt::format("{}: no difference larger than {} points", measured, points(bound));
}

// Those with the best mean: "full has", "full and lora have".
std::string leaders(const std::vector<const Cell*>& cells, const std::string& set, const std::string& metric) {
  const auto mean = [&](const Cell* cell) { return train::merit(metric, seed_mean_of(*cell, set, metric).mean); };
  const Cell* best = *std::max_element(cells.begin(), cells.end(),
                                       [&](const Cell* left, const Cell* right) { return mean(left) < mean(right); });
  std::vector<std::string> names;
  for (const Cell* cell : cells) {
    if (is_tie(mean(cell), mean(best))) names.push_back(cell->method);
  }
  return listed(names) + (names.size() == 1 ? " has" : " have");
}

// Where the classes are mixed otherwise than in training, accuracy favours whoever leans to those that are frequent.
std::string balanced_leader(const std::vector<const Cell*>& cells, const std::string& set, const std::string& metric) {
  if (set == "test" || metric != "accuracy") return "";
  const auto mean = [&](const Cell* cell) { return seed_mean_of(*cell, set, "balanced_accuracy").mean; };
  const Cell* best = *std::max_element(cells.begin(), cells.end(),
                                       [&](const Cell* left, const Cell* right) { return mean(left) < mean(right); });
  if (is_tie(mean(best), mean(cells[0]))) return "";
  return fmt::format(" By balanced accuracy {} the highest mean, {} % (of {}: {} %).",
                     leaders(cells, set, "balanced_accuracy"), points(mean(best)), cells[0]->method,
                     points(mean(cells[0])));
}

std::string finding(const StudyPlan& plan, const Findings& findings, const EvaluationSet& set, std::int64_t samples) {
  const auto cells = ranked(findings, set.name, plan.metric, samples);
  if (cells.empty()) return fmt::format("{}: no method has a result.", set_title(set.name));
  const Cell& top = *cells[0];
  const SeedMean& mean = seed_mean_of(top, set.name, plan.metric);
  const std::string metric = metric_words(plan.metric);
  const std::string head = fmt::format("{} ({} examples, {} seed{})", set_title(set.name), count_text(set.examples),
                                       mean.seeds, mean.seeds == 1 ? "" : "s");
  const std::string value = mean_text(plan.metric, mean);
  if (cells.size() == 1)
    return fmt::format("{}: {} has {} {}; nothing to compare it with.", head, top.method, value, metric);
  const std::string leading =
      fmt::format("{} the {} {}, {}.", leaders(cells, set.name, plan.metric), best_word(plan.metric), metric, value);
  const bool has_two = std::any_of(cells.begin(), cells.end(), [&](const Cell* cell) {
    return seed_mean_of(*cell, set.name, plan.metric).seeds > 1;
  });
  if (!has_two && *plan.seed_numbers(samples).rbegin() < 2) {
    return fmt::format(
        "{}: {} One seed only: how far seeds scatter is not known, so no method is called better (--seeds 3).", head,
        leading);
  }
  std::vector<std::string> beaten;
  std::vector<std::string> alone;
  std::vector<std::string> ahead_of_it;
  std::vector<std::string> indistinguishable;
  for (auto other = std::next(cells.begin()); other != cells.end(); ++other) {
    const auto comparison = findings.compare(set.name, samples, top.method, (*other)->method);
    if (!comparison || std::isnan(comparison->adjusted_p)) {
      indistinguishable.push_back(fmt::format("{}: too few seeds ended to compare", (*other)->method));
    } else if (comparison->shown_alone() && comparison->difference.mean < 0) {
      // A method with further seeds may have the best mean because of these alone.
      const PairedDifference ahead = comparison->difference.reversed();
      ahead_of_it.push_back(fmt::format("{} by {} points ({}; {} seeds)", (*other)->method, points(ahead.mean),
                                        interval_points(ahead, plan.metric), ahead.seeds));
    } else if (comparison->shown_alone()) {
      (comparison->shown() ? beaten : alone)
          .push_back(fmt::format("{} by {} points ({})", (*other)->method, points(comparison->difference.mean),
                                 interval_points(comparison->difference, plan.metric)));
    } else {
      indistinguishable.push_back(indistinct(plan, *comparison));
    }
  }
  std::string text = fmt::format("{}: ", head);
  if (knows_nothing(plan, set, mean.mean)) {
    const bool classes = plan.problem_type == ProblemType::single_label_classification;
    text += fmt::format("no method has more than the {} % of always giving {}. ", points(set.majority_share),
                        classes ? "the most frequent class" : "the same answer");
  }
  if (alone.empty() && ahead_of_it.empty() && indistinguishable.empty()) {
    text += fmt::format("{} wins with {} {}. It beats {}.", top.method, value, metric, listed(beaten));
    return text + balanced_leader(cells, set.name, plan.metric);
  }
  text += leading;
  const std::string subject = leaders(cells, set.name, plan.metric) == top.method + " has" ? "It" : top.method;
  if (!beaten.empty()) text += fmt::format(" {} beats {}.", subject, listed(beaten));
  if (!alone.empty())
    text += fmt::format(
        " {} is ahead of {}, each pair by itself; over all {} pairs of the set at this count that is not shown.",
        subject, listed(alone), findings.pairs(set.name, samples));
  if (!ahead_of_it.empty()) text += fmt::format(" Over the seeds that both have it is behind {}.", listed(ahead_of_it));
  if (!indistinguishable.empty())
    text += fmt::format(" {} is not told apart from {}.", subject, fmt::join(indistinguishable, "; nor from "));
  return text + balanced_leader(cells, set.name, plan.metric);
}

// "seed 2", "seeds 1, 3".
std::string seeds_listed(const std::vector<std::uint64_t>& seeds) {
  return fmt::format("seed{} {}", seeds.size() == 1 ? "" : "s", fmt::join(seeds, ", "));
}

std::string collapse_text(const Cell& cell) {
  const auto collapsed = static_cast<std::int64_t>(cell.collapsed.size());
  const Interval share = proportion_interval(collapsed, cell.ended, 0.95);
  return fmt::format(
      "{}: {} of {} seeds collapsed ({}), no better than always giving one answer, and in the means. The share of runs "
      "that collapse lies between {:.0f} and {:.0f} % (exact 95 % interval).",
      cell.method, collapsed, cell.ended, seeds_listed(cell.collapsed), 100 * share.low, 100 * share.high);
}

std::vector<std::string> warnings(const Findings& findings, std::int64_t samples) {
  std::vector<std::string> texts;
  for (const Cell& cell : findings.cells) {
    if (cell.samples != samples) continue;
    if (!cell.learning_rate) {
      texts.push_back(fmt::format("{}: no learning rate of its grid trained; try smaller ones (--lrs).", cell.method));
    } else if (cell.at_low_edge || cell.at_high_edge) {
      texts.push_back(fmt::format("{}: the best learning rate, {}; a better one may lie beyond (--lrs).", cell.method,
                                  edge_text(cell)));
    }
    if (!cell.left_rates.empty()) {
      texts.push_back(
          fmt::format("{}: the search chose {}; its results spoke against it on dev, and those at {} count.",
                      cell.method, rate_text(cell.left_rates.front()), rate_text(*cell.learning_rate)));
    }
    if (!cell.failed.empty()) {
      texts.push_back(fmt::format("{}: {} of {} seeds failed ({}) and {} in no mean. Why seed {} did: {}.", cell.method,
                                  cell.failed.size(), static_cast<std::size_t>(cell.ended) + cell.failed.size(),
                                  seeds_listed(cell.failed), cell.failed.size() == 1 ? "is" : "are", cell.failed[0],
                                  cell.failure));
    }
    if (!cell.collapsed.empty()) texts.push_back(collapse_text(cell));
  }
  return texts;
}

json judgement_json(const CountDecision& count, std::size_t method) {
  static constexpr const char* kStandings[] = {"as good", "worse", "undecided", "collapsed"};
  const Judgement& judgement = count.decision.methods[method];
  json loss = nullptr;
  if (judgement.loss) {
    const Interval interval = judgement.loss->interval(0.95);
    loss = {{"mean", judgement.loss->mean}, {"interval", {interval.low, interval.high}}};
  }
  return {{"method", count.candidate(method).method},
          {"standing", kStandings[static_cast<std::size_t>(judgement.standing)]},
          {"within_margin", number_or_null(judgement.within_margin)},
          {"adjusted_p", number_or_null(judgement.adjusted_p)},
          {"loss", loss}};
}

json decision_json(const CountDecision& count) {
  json methods = json::array();
  for (std::size_t i = 0; i < count.decision.methods.size(); ++i) methods.push_back(judgement_json(count, i));
  const auto name = [&](const std::optional<std::size_t>& index) {
    return index ? json(count.candidate(*index).method) : json(nullptr);
  };
  json open = json::array();
  for (const std::size_t index : count.decision.open) open.push_back(count.candidate(index).method);
  json remedy = nullptr;
  if (count.remedy) {
    const auto number = [](const std::optional<std::int64_t>& value) { return value ? json(*value) : json(nullptr); };
    remedy = {{"more_seeds", number(count.remedy->more_seeds)}, {"examples", number(count.remedy->examples)}};
  }
  return {{"best", name(count.decision.best)},
          {"advised", name(count.decision.advised)},
          {"open", open},
          {"methods", methods},
          {"would_decide", remedy}};
}

json change_json(const AdviceChange& change) {
  json at = nullptr;
  if (change.crossover) {
    const auto& interval = change.crossover->interval;
    at = {{"samples", change.crossover->samples},
          {"interval", interval ? json{interval->low, interval->high} : json(nullptr)}};
  }
  return {{"from", change.before},
          {"to", change.after},
          {"between", {change.samples_before, change.samples_after}},
          {"crossover", at}};
}

}  // namespace

std::vector<Verdict> verdicts(const StudyPlan& plan, const Findings& findings) {
  std::vector<Verdict> all;
  for (const std::int64_t samples : plan.samples) {
    if (std::none_of(findings.cells.begin(), findings.cells.end(),
                     [&](const Cell& cell) { return cell.samples == samples; }))
      continue;
    Verdict verdict;
    verdict.samples = samples;
    for (const EvaluationSet& set : plan.sets) verdict.findings.push_back(finding(plan, findings, set, samples));
    if (const CountDecision* count = findings.decision(samples)) {
      const Decision& decision = count->decision;
      verdict.advice = advice_text(plan, findings, *count);
      if (decision.advised) verdict.advised = count->candidate(*decision.advised).method;
      if (!decision.advised && decision.best) verdict.best_guess = count->candidate(*decision.best).method;
    } else {
      verdict.advice = no_advice_text(plan, findings, samples);
    }
    verdict.warnings = warnings(findings, samples);
    all.push_back(std::move(verdict));
  }
  return all;
}

json verdict_json(const StudyPlan& plan, const Findings& findings, const std::vector<Verdict>& verdicts) {
  json counts = json::array();
  for (const Verdict& verdict : verdicts) {
    const CountDecision* count = findings.decision(verdict.samples);
    counts.push_back({{"samples", verdict.samples},
                      {"findings", verdict.findings},
                      {"advice", verdict.advice},
                      {"advised", verdict.advised},
                      {"best_guess", verdict.best_guess},
                      {"decision", count != nullptr ? decision_json(*count) : json(nullptr)},
                      {"warnings", verdict.warnings}});
  }
  json changes = json::array();
  for (const AdviceChange& change : findings.changes) changes.push_back(change_json(change));
  return {{"metric", plan.metric},
          {"margin", plan.margin},
          {"counts", counts},
          {"trend", trend_text(plan, findings)},
          {"changes", changes}};
}

}  // namespace dtrain::study
