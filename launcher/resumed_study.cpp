#include "launcher/resumed_study.h"

namespace dtrain::launcher {

study::StudyPlan plan_to_go_on_with(study::StudyPlan asked, const std::optional<study::StudyPlan>& before) {
  if (!before) return asked;
  asked.samples = before->samples;
  asked.steps = before->steps;
  asked.result_seeds = before->result_seeds;
  asked.more_seeds = before->more_seeds;
  asked.dropped_seeds = before->dropped_seeds;
  asked.changes = before->changes;
  asked.search = before->search;
  return asked;
}

study::RunFacts facts_of_all_runs(study::RunFacts now, const study::StudyPlan& plan, const study::RunFacts& earlier,
                                  const study::StudyPlan& earlier_plan) {
  // What changes while a plan runs is no other plan; metric and margin decide no trial.
  const auto trials = [](study::StudyPlan of) {
    of.more_seeds.clear();
    of.dropped_seeds.clear();
    of.changes.clear();
    of.metric.clear();
    of.margin = 0;
    return study::plan_json(of);
  };
  now.forecast_seconds = trials(plan) == trials(earlier_plan) ? earlier.forecast_seconds : std::nullopt;
  const auto ranks = [](const study::RunFacts& facts) { return facts.groups * facts.ranks_per_trial; };
  now.idle_share.reset();
  if (ranks(now) == ranks(earlier) && earlier.idle_share) now.idle_share = 0;
  return now;
}

std::optional<int> inherited_ranks_per_trial(int earlier, int ranks, bool is_gpu_shared) {
  if (earlier < 1 || ranks % earlier != 0 || (is_gpu_shared && earlier > 1)) return std::nullopt;
  return earlier;
}

}  // namespace dtrain::launcher
