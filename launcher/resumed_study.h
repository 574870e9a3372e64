#pragma once

#include <optional>

#include "study/plan/plan.h"

namespace dtrain::launcher {

/// The plan before anything is measured: what was asked, with the counts, seeds and search of an earlier plan,
/// `before`, where there is one to go on with.
study::StudyPlan plan_to_go_on_with(study::StudyPlan asked, const std::optional<study::StudyPlan>& before);

/// How many ranks train a trial of a study that is gone on with, where --ranks-per-trial does not say: as many as when
/// it began (`earlier`; 0: it does not go on), where that divides `ranks`. Nothing where it does not, or where ranks
/// share a GPU now and so cannot train together.
std::optional<int> inherited_ranks_per_trial(int earlier, int ranks, bool is_gpu_shared);

}  // namespace dtrain::launcher
