#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>

#include "train/options.h"
#include "train/run_context.h"
#include "train/step_log.h"
#include "train/training_step.h"

namespace dtrain::train {

/// One run's clock, and what it tells of its steps: the line of progress, and log.jsonl.
class RunProgress {
 public:
  /// The clock starts.
  RunProgress(const TrainOptions& options, const RunContext& context, std::int64_t steps);

  /// The steps from `position` on follow, `earlier_seconds` of training after the run's beginning. An empty path logs
  /// nowhere.
  void begin_steps(const std::filesystem::path& log, std::int64_t position, double earlier_seconds);
  /// `position` steps are done, the last of them at that learning rate and with that gradient norm.
  void step_done(std::int64_t position, const StepOutcome& outcome, double learning_rate, double gradient_norm,
                 std::int64_t allreduce_bytes);
  /// So many seconds were no training.
  void leave_out(double seconds) { left_out_seconds_ += seconds; }
  /// Takes the line of progress away.
  void end_line() const { context_.log.progress(""); }

  /// Of training, those before a resume with them.
  double train_seconds() const { return earlier_seconds_ + seconds_here(); }

 private:
  double seconds_here() const;

  const TrainOptions& options_;
  const RunContext& context_;
  std::int64_t steps_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::optional<StepLog> log_;
  std::int64_t first_position_ = 0;
  std::int64_t samples_ = 0;
  double left_out_seconds_ = 0;
  double earlier_seconds_ = 0;
};

}  // namespace dtrain::train
