#pragma once

#include <cstdint>
#include <vector>

#include "peft/training_hooks.h"
#include "train/examples.h"
#include "train/options.h"

namespace dtrain::train {

/// The steps in which every example is seen once; the last may have fewer examples.
std::int64_t steps_per_epoch(const TrainOptions& options, const Examples& examples);

/// The steps of a run: `max_steps`, or `epochs` of them and at least `min_steps`.
std::int64_t total_steps(const TrainOptions& options, std::int64_t steps_per_epoch);

/// The step before which each phase of a run of `steps` steps ends.
std::vector<std::int64_t> phase_ends(const std::vector<peft::Phase>& phases, std::int64_t steps);

/// After how many steps dev is scored again, besides at the end of each phase: every epoch, but at most `most` times in
/// a run. Small data has many epochs and a dev set that is larger than itself: ten times took longer than the training.
std::int64_t evaluation_interval(std::int64_t steps, std::int64_t steps_per_epoch, std::int64_t most);

/// What a run trains on, each example as often as it is seen.
struct Seen {
  std::int64_t examples = 0;
  std::int64_t tokens = 0;
};
Seen seen_in_run(const TrainOptions& options, const Examples& examples, std::int64_t steps);

}  // namespace dtrain::train
