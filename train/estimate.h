#pragma once

#include <cstdint>

#include "model/classifier.h"
#include "train/examples.h"
#include "train/options.h"
#include "train/run_context.h"

namespace dtrain::train {

/// What a run will take, from counting and from a few real steps.
struct Estimate {
  std::int64_t parameters = 0;
  /// Of the last phase.
  std::int64_t trainable_parameters = 0;
  std::int64_t steps = 0;
  std::int64_t allreduce_bytes = 0;
  /// Frozen and trainable values, gradients and the optimiser's two moments, of one rank.
  std::int64_t state_bytes = 0;
  std::int64_t peak_memory_bytes = 0;
  std::int64_t peak_memory_above_base_bytes = 0;
  /// Mean over the phases; with several of them, their first passes through what is frozen are in it.
  double step_seconds = 0;
  double train_seconds = 0;
  double evaluation_seconds = 0;
  /// The frozen part of one example, run once for the cache; 0 where nothing is cached to the end.
  double prefix_example_seconds = 0;
  /// Scoring one example, the frozen part included.
  double score_example_seconds = 0;
  /// Of the matmuls of all ranks: of a step, and of the frozen part of one example (with several phases, in the steps).
  double step_flop = 0;
  double prefix_example_flop = 0;
  /// Of the training examples, in the mean.
  double tokens_per_example = 0;
  /// Floating-point operations a second that the ranks' matmuls reach together; 0: not measured.
  double matmul_rate = 0;
};

/// Collective. Takes three steps of each phase on `classifier` (after one to warm up), which is of no use afterwards.
/// With a frozen prefix, the time of the first pass is measured on the examples of those steps.
Estimate estimate(model::Classifier& classifier, const Examples& examples, std::int64_t dev_examples,
                  const TrainOptions& options, const RunContext& context);

}  // namespace dtrain::train
