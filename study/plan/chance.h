#pragma once

#include <optional>
#include <string>

#include "study/plan/plan.h"
#include "study/plan/trial.h"

namespace dtrain::study {

/// Whether a run does no better on a set than always giving the best one answer, which scores `untrained`: within a
/// point of it, and of classes uncorrelated with the labels (Matthews below 0.05). Nothing where it was not measured.
std::optional<bool> is_at_chance(const StudyPlan& plan, const TrialOutcome& outcome, const std::string& set,
                                 double untrained);

}  // namespace dtrain::study
