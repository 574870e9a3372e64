#pragma once

#include <string>

#include "study/findings/analysis.h"
#include "study/plan/plan.h"

namespace dtrain::study {

/// The best mean on test at the largest count that has results: "best so far lora 72.3 at 1,000"; empty where
/// nothing has.
std::string best_so_far(const StudyPlan& plan, const Findings& findings);

/// The quality of what has results, as a table for a terminal; empty where nothing has.
std::string table_so_far(const StudyPlan& plan, const Findings& findings);

}  // namespace dtrain::study
