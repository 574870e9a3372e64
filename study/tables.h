#pragma once

#include <vector>

#include "base/table.h"
#include "study/analysis.h"
#include "study/forecast.h"
#include "study/plan.h"

namespace dtrain::study {

/// The trials of each method and sample count, their steps and the forecast of their time; the sum in the last row.
Table plan_table(const StudyPlan& plan, const std::vector<MethodForecast>& forecasts, const TrialSizes& sizes);

/// Accuracy on each set as mean and 95 % t interval over seeds in percent, and macro-F1.
Table quality_table(const StudyPlan& plan, const Findings& findings);

/// What each method trains, sends, takes and stores.
Table cost_table(const Findings& findings);

/// Each pair of methods on each set: the difference in points with its interval, Holm's p, the margin of equivalence.
Table pair_table(const Findings& findings);

/// What the search found on dev for each learning rate.
Table search_table(const StudyPlan& plan, const Findings& findings);

}  // namespace dtrain::study
