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

std::optional<int> inherited_ranks_per_trial(int earlier, int ranks, bool is_gpu_shared) {
  if (earlier < 1 || ranks % earlier != 0 || (is_gpu_shared && earlier > 1)) return std::nullopt;
  return earlier;
}

}  // namespace dtrain::launcher
