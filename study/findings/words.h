#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "study/journal/run_facts.h"
#include "study/plan/plan.h"
#include "study/statistics/statistics.h"

namespace dtrain::study {

/// A share in points with one digit: 0.1234 -> "12.3".
std::string points(double share);

/// The same with its sign: "+12.3", "-0.4", "0.0".
std::string signed_points(double share);

/// "2.1 to 4.0", in points; of a metric between 0 and 1 no end lies beyond 100, where the mean does not.
std::string interval_points(const PairedDifference& difference, const std::string& metric);

/// A value of a metric: "67.1" of a share, in percent, "0.843" of another.
std::string value_text(const std::string& metric, double value);
/// A mean: "67.1 ± 2.0 %", "0.843 ± 0.020"; of one seed without what it may be off by.
std::string mean_text(const std::string& metric, const SeedMean& mean);

/// What the best has: the "highest" mean, of log-loss the "lowest".
std::string best_word(const std::string& metric);

/// How a difference is shown: "over all pairs", where `shown`; "this pair alone", where only its 95 % interval leaves
/// out zero, by its p-value `p`; "no"; "-" of one seed.
std::string shown_text(double p, bool shown);

/// "a", "a and b", "a, b and c".
std::string listed(const std::vector<std::string>& names);

/// "balanced_accuracy" -> "balanced accuracy", "r2" -> "R²".
std::string metric_words(const std::string& metric);

/// Whether a measure of forgetting is of the model before training: it is no result ("mrr_before").
bool is_before(const std::string& measure);

/// "backward_transfer" -> "backward transfer", "mrr" -> "retrieval (MRR)".
std::string forgetting_words(const std::string& measure);

/// What the measure, or the metric, is, in a sentence for who does not know it; empty where the name says it.
std::string forgetting_meaning(const std::string& measure);
std::string metric_meaning(const std::string& metric);

/// A probability as a whole percentage, never rounded to certainty: "< 1 %", "97 %", "> 99 %".
std::string probability_text(double probability);

/// As a person writes it: 5e-05 -> "5e-5", 0.0015 -> "0.0015".
std::string rate_text(double learning_rate);

/// "1 seed", "3 seeds"; "3 to 5 seeds" where the numbers differ.
std::string seed_numbers_text(const std::set<std::size_t>& numbers);

/// What a set can show, before anything has run: the 95 % half-width of a difference where methods disagree on 6 % of
/// the examples, at best and, at each count with its seeds, where seeds scatter by a point.
std::string resolution_text(const StudyPlan& plan, const EvaluationSet& set);

/// How long a study will take and on what.
std::string forecast_text(const StudyPlan& plan, const RunFacts& facts, double idle_share, bool fits);
/// "forecast 7 min 2 s, +6 %", with what it is about where seeds were added to the plan; empty without a forecast.
std::string forecast_error_text(const RunFacts& facts);

/// How long it took, beside the forecast, and how much of its ranks' time was without a trial.
std::string run_text(const RunFacts& facts);

}  // namespace dtrain::study
