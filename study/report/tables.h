#pragma once

#include <string>
#include <vector>

#include "base/table.h"
#include "study/findings/analysis.h"
#include "study/plan/forecast.h"
#include "study/plan/plan.h"

namespace dtrain::study {

/// The trials of each method and sample count, search and results, their steps and the forecast of their time, beside
/// the other groups; the sum in the last row.
Table plan_table(const StudyPlan& plan, const std::vector<MethodForecast>& forecasts, const TrialSizes& sizes);

/// How many seeds ended, of how many, and how many failed or collapsed: "4 of 5 (1 failed and 1 collapsed)".
std::string seeds_text(const StudyPlan& plan, const Cell& cell);

/// Accuracy, or the plan's metric, on each set as mean and 95 % t interval over seeds in percent, and another metric.
Table quality_table(const StudyPlan& plan, const Findings& findings);

/// What each method trains, sends, takes and stores.
Table cost_table(const Findings& findings);
/// On how many ranks and threads that was measured; empty of journals that do not say it.
std::string measured_on_text(const Findings& findings);
/// What was forgotten: a column a measure; no rows where it was not asked.
Table forgetting_table(const Findings& findings);
/// Its differences between the methods.
Table forgetting_pair_table(const Findings& findings);

/// What each method's standing is at each sample count, its loss to the best mean in points with the 95 % interval
/// of that pair, how that is shown, and the probability that it loses no more than the margin.
Table decision_table(const StudyPlan& plan, const Findings& findings);

/// Each pair of methods on each set: the difference in points with its interval, Holm's p, the margin of equivalence.
Table pair_table(const StudyPlan& plan, const Findings& findings);

/// What the search found on dev for each learning rate.
Table search_table(const StudyPlan& plan, const Findings& findings);

}  // namespace dtrain::study
