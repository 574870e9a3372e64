#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "study/plan/plan.h"
#include "study/plan/trial.h"
#include "study/statistics/crossover.h"
#include "study/statistics/decision.h"
#include "study/statistics/statistics.h"

namespace dtrain::study {

/// What the search found for a learning rate.
struct SearchPoint {
  double learning_rate = 0;
  /// The share of a whole training's steps.
  double length = 1;
  /// The plan's select metric on dev; NaN: failed.
  double dev = 0;
};

/// What a method gave at a sample count.
struct Cell {
  std::string method;
  std::int64_t samples = 0;
  /// Chosen on dev; nothing where no learning rate trained.
  std::optional<double> learning_rate;
  /// Higher ones that the search had chosen before, and that were left because of their results on dev, descending.
  std::vector<double> left_rates;
  /// The chosen one is an end of what the search may try: a better one may lie beyond.
  bool at_low_edge = false;
  bool at_high_edge = false;
  /// Ascending in length, then in learning rate.
  std::vector<SearchPoint> search;
  /// Over the seeds that ended, by set and metric.
  std::map<std::string, std::map<std::string, SeedMean>> metrics;
  /// The same of what was forgotten, by measure; empty where it was not asked.
  std::map<std::string, SeedMean> forgetting;
  /// Seeds whose training failed (a loss that is not finite, no memory left), which are in no mean; why the first did.
  std::vector<std::uint64_t> failed;
  std::string failure;
  /// Seeds that learned nothing, which are in the means: on dev and on test no better than the best answer that is
  /// always the same (within a point), and of classes uncorrelated with the labels (Matthews below 0.05).
  std::vector<std::uint64_t> collapsed;
  /// How many seeds ended, the collapsed ones among them.
  std::int64_t ended = 0;
  /// What the method costs by itself, measured with nothing else on the node; the most memory that a trial took.
  Cost cost;
  /// What its trials took in the study, beside whatever else ran: the search for its learning rate (results at rates
  /// that were left among it), and the results.
  double search_seconds = 0;
  double result_seconds = 0;

  bool all_collapsed() const { return ended > 0 && static_cast<std::int64_t>(collapsed.size()) == ended; }
};

/// The difference in the plan's metric of two methods on a set.
struct Comparison {
  std::string set;
  std::int64_t samples = 0;
  std::string first;
  std::string second;
  /// What the first is better by: first minus second, or where less of the metric is better second minus first.
  PairedDifference difference;
  /// Adjusted by Holm over all pairs of the set at the sample count.
  double adjusted_p = 0;
  /// kLevel, or kLevelWithAddedSeeds where the count has such seeds.
  double level = kLevel;

  /// Whether the difference is shown, at the level for the whole family.
  bool shown() const { return adjusted_p < level; }
  /// Whether its 95 % interval, which is of this pair alone, leaves out zero. Always where it is shown.
  bool shown_alone() const { return difference.p_value() < 0.05; }
  /// The other way round.
  Comparison reversed() const;
  /// First minus second, whether more or less of the metric is better.
  PairedDifference in_metric(const std::string& metric) const;
};

/// The difference in a measure of forgetting of two methods, first minus second, over the seeds that both have: a
/// measure has one number a seed, so that its interval knows of other seeds alone. Of seeds that are all the same it is
/// NaN, unless the sign test shows something (p_value_of_zero).
struct ForgettingComparison {
  std::string measure;
  std::int64_t samples = 0;
  std::string first;
  std::string second;
  SeedMean difference;
  double p = 0;
  /// Adjusted by Holm over all pairs of the measure at the sample count.
  double adjusted_p = 0;
  /// As of a Comparison.
  double level = kLevel;

  bool shown() const { return adjusted_p < level; }
};

/// The decision on test at a sample count, over the methods of which at least two seeds ended.
struct CountDecision {
  std::int64_t samples = 0;
  Contest contest;
  Decision decision;
  /// What would decide it, where it is not decided.
  std::optional<Remedy> remedy;

  const Candidate& candidate(std::size_t index) const { return contest.candidates()[index]; }
  /// The methods, but for this one, whose mean is the best, that of `decision.best`; of those that tie all.
  std::vector<std::string> leaders_beside(std::size_t index) const;
  /// Whether every other method that it holds collapsed: it is taken for want of a rival, not for a comparison. Methods
  /// of which fewer than two seeds ended are not in the decision (no_rival_text).
  bool is_alone(std::size_t index) const;
};

/// A change of what the decisions would take, between two neighbouring sample counts.
struct AdviceChange {
  std::int64_t samples_before = 0;
  std::int64_t samples_after = 0;
  std::string before;
  std::string after;
  /// Where the cheaper of both begins, or ceases, to lose more than the margin; nothing with fewer than three counts,
  /// or where the fit has no such place.
  std::optional<Crossover> crossover;
};

/// What the finished trials of a study say. Cells come in the plan's order, sample counts outermost; what is not
/// finished is not there.
struct Findings {
  std::vector<Cell> cells;
  std::vector<Comparison> comparisons;
  std::vector<ForgettingComparison> forgetting;
  /// Ascending in samples; for the counts at which at least two methods have two seeds.
  std::vector<CountDecision> decisions;
  std::vector<AdviceChange> changes;

  /// Null where it is not there.
  const Cell* cell(const std::string& method, std::int64_t samples) const;
  const CountDecision* decision(std::int64_t samples) const;
  /// What the first is better by, whichever way round it is kept; nothing where it is not there.
  std::optional<Comparison> compare(const std::string& set, std::int64_t samples, const std::string& first,
                                    const std::string& second) const;
  /// Of a sample count, in the plan's order.
  std::vector<const Cell*> cells_at(std::int64_t samples) const;
  /// How many pairs of a set the p-values are adjusted over at a sample count.
  std::size_t pairs(const std::string& set, std::int64_t samples) const;
};

/// The result of a cell with that seed; null where there is none.
const TrialOutcome* result_of(const FinishedTrials& finished, const Cell& cell, std::uint64_t seed);

/// `costs`: what the methods cost by themselves; where there are none, what the trials took.
Findings analyse(const StudyPlan& plan, const FinishedTrials& finished, const MethodCosts& costs = {});

}  // namespace dtrain::study
