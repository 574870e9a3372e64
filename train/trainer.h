#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "model/classifier.h"
#include "train/curve_point.h"
#include "train/evaluation.h"
#include "train/examples.h"
#include "train/feature_cache.h"
#include "train/options.h"
#include "train/run_context.h"
#include "train/run_energy.h"
#include "train/run_length.h"

namespace dtrain::train {

/// Where a run keeps what must survive it. Empty paths: nowhere.
struct RunFiles {
  /// log.jsonl, a line per logged step.
  std::filesystem::path log;
  /// The folder of checkpoints.
  std::filesystem::path checkpoints;
  bool resume = false;
  /// The folder of this run's event files (EventFile).
  std::filesystem::path events = {};
  /// The lowest rank on this rank's node, which reads the checkpoint for all of it.
  int node = 0;
};

/// What a run cost and how it went.
struct TrainReport {
  double learning_rate = 0;
  /// Taken, and those of a run that is not stopped early.
  std::int64_t steps = 0;
  std::int64_t planned_steps = 0;
  /// Those that had been taken before a resume; 0 without one.
  std::int64_t resumed_steps = 0;
  /// The step whose weights the classifier has now: the best on dev, or the last without dev and where no evaluation
  /// gave a number.
  std::int64_t best_step = 0;
  std::optional<Evaluation> dev;
  bool stopped_early() const { return steps < planned_steps; }
  /// Of each evaluation on dev, those before a resume left out.
  std::vector<CurvePoint> curve;
  /// Without evaluations.
  double train_seconds = 0;
  double samples_per_second = 0;
  /// As in Cost.
  double tokens_per_second = 0;
  double flop = 0;
  double matmul_rate_share = 0;
  Energy energy;
  std::int64_t trainable_parameters = 0;
  std::int64_t allreduce_bytes_per_step = 0;
  /// Of this rank (PeakMemory).
  std::int64_t peak_memory_bytes = 0;
  std::int64_t peak_memory_above_base_bytes = 0;
  std::optional<std::int64_t> peak_host_memory_bytes;
};

/// Trains `classifier`, to which the options' method is attached, and leaves the best weights in it. Collective over
/// the context's ranks; results are the same on each. `dev` may be empty. Throws TrainingError where the loss is not
/// finite, and Stopped after a signal or before the time limit, with a checkpoint written where `files` has a place for
/// one: after the step that is under way, or between two batches of an evaluation on dev.
TrainReport train(model::Classifier& classifier, const Examples& examples, const Examples& dev,
                  const TrainOptions& options, const RunFiles& files, const RunContext& context,
                  FeatureStore& features);

/// For what a resumed run begins with, such as the scoring of finished training: throws TrainingError where the time
/// limit came before that was done (`what`, "dev was evaluated"). Nothing was gained: whoever starts it again and again
/// would wait for ever.
void throw_if_time_is_up(const std::string& what, const RunContext& context);

}  // namespace dtrain::train
