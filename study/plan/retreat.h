#pragma once

#include <cstdint>

#include "study/plan/plan.h"
#include "study/plan/search.h"
#include "study/plan/trial.h"

namespace dtrain::study {

/// What the results say of the rate that a search found (study/plan/search.h): fills with_results and wanted of a
/// search that is done, and sets chosen anew where a lower rate did better. `found` is searched over several rates.
void hear_results(const StudyPlan& plan, const MethodPlan& method, std::int64_t samples, const FinishedTrials& finished,
                  Search& found);

}  // namespace dtrain::study
