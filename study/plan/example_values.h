#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "study/plan/plan.h"
#include "study/plan/trial.h"
#include "study/statistics/statistics.h"

namespace dtrain::study {

/// What each example of a set counts in a trial's metric, so that the metric is the mean over the examples, and how
/// methods differ in it is a mean of paired differences (study/statistics/statistics.h). More is better: where less is,
/// as of log-loss, it is the negative of the metric that is their mean, and a difference is what the first method is
/// better.
///
/// Scores, for the metric that is their mean, and what the trial kept of each example for others that are means. For
/// balanced accuracy scores are weighed, each class that occurs counting the same. F1 and Matthews' coefficient are no
/// means, but functions of how often each class is right, true and predicted: an example counts the metric plus its
/// influence on it, the derivative by the example's weight (infinitesimal jackknife: Efron, 1982, chapter 6; for F1 the
/// delta method of Takahashi et al., 2022). The influences of a trial sum to zero, so that its mean is the metric
/// itself, and their variance over n is the metric's, as far as other examples go.
struct ExampleValues {
  std::vector<double> values;
  /// The largest difference that another answer to one example makes; 0 where it has no limit, and only what two
  /// methods differ by says how large one is.
  double unit = 1;
};

/// Nothing where the trial has no answers to the set, or lacks what the metric is computed from, or has values that are
/// no numbers.
/// Throws std::invalid_argument where the set's labels are not as many as the answers.
std::optional<ExampleValues> example_values(const std::string& metric, const EvaluationSet& set,
                                            const TrialOutcome& outcome);

/// How two methods differ, first minus second, from their values by seed; nothing where there is no seed, or fewer than
/// two examples. The values of a pair are of the same seed and the same examples.
std::optional<PairedDifference> difference_in_values(
    const std::vector<std::pair<const ExampleValues*, const ExampleValues*>>& seeds);

/// Metrics of classes that are no mean over examples.
const std::vector<std::string>& class_count_metrics();

/// Results that ended well but lack the plan's metric or what it is computed from: a journal of an earlier version kept
/// neither predicted classes nor log-losses, or did not know the metric.
std::int64_t results_without_values(const StudyPlan& plan, const FinishedTrials& finished);

}  // namespace dtrain::study
