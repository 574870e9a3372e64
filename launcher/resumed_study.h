#pragma once

#include <optional>

#include "study/journal/run_facts.h"
#include "study/plan/plan.h"

namespace dtrain::launcher {

/// The plan before anything is measured: what was asked, with the counts, seeds and search of an earlier plan,
/// `before`, where there is one to go on with.
study::StudyPlan plan_to_go_on_with(study::StudyPlan asked, const std::optional<study::StudyPlan>& before);

/// What is known of the whole of a study that is gone on with before it ends, `now` being what this run alone is: the
/// forecast that the study began with, where `plan` still is the one that it was of; no share of idle time where the
/// runs have different numbers of ranks.
study::RunFacts facts_of_all_runs(study::RunFacts now, const study::StudyPlan& plan, const study::RunFacts& earlier,
                                  const study::StudyPlan& earlier_plan);

/// How many ranks train a trial of a study that is gone on with, where --ranks-per-trial does not say: as many as when
/// it began (`earlier`; 0: it does not go on), where that divides `ranks`. Nothing where it does not, or where ranks
/// share a GPU now and so cannot train together.
std::optional<int> inherited_ranks_per_trial(int earlier, int ranks, bool is_gpu_shared);

}  // namespace dtrain::launcher
