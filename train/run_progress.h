#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>

#include "train/event_file.h"
#include "train/metrics.h"
#include "train/options.h"
#include "train/run_context.h"
#include "train/run_energy.h"
#include "train/step_log.h"
#include "train/training_step.h"

namespace dtrain::train {

/// One run's clock, and what it tells of its steps: the line of progress, log.jsonl and event files.
class RunProgress {
 public:
  /// The clock starts.
  RunProgress(const TrainOptions& options, const RunContext& context, std::int64_t steps);

  /// The steps from `position` on follow, `earlier_seconds` of training after the run's beginning, in which the steps
  /// took `earlier_flop`. Empty paths log nowhere.
  void begin_steps(const std::filesystem::path& log, const std::filesystem::path& events, std::int64_t position,
                   double earlier_seconds, double earlier_flop);
  /// `position` steps are done, the last of them at that learning rate and with that gradient norm.
  void step_done(std::int64_t position, const StepOutcome& outcome, double learning_rate, double gradient_norm,
                 std::int64_t allreduce_bytes);
  /// What dev said after `position` steps.
  void evaluated(std::int64_t position, const Metrics& metrics);
  /// log.jsonl is on disk up to here.
  void sync_log() { log_->sync(); }
  /// What follows, up to go_on, is no training.
  void pause();
  void go_on();
  /// Takes the line of progress away.
  void end_line() const { context_.log.progress(""); }

  /// Of training, those before a resume with them.
  double train_seconds() const { return earlier_seconds_ + seconds_here(); }
  /// Of all steps, those before a resume with them (StepOutcome::flop).
  double flop() const { return flop_; }
  /// Of training; not known after a resume. Collective.
  Energy energy();

 private:
  double seconds_here() const;

  const TrainOptions& options_;
  const RunContext& context_;
  std::int64_t steps_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::optional<StepLog> log_;
  std::optional<EventFile> events_;
  std::int64_t first_position_ = 0;
  std::int64_t samples_ = 0;
  double left_out_seconds_ = 0;
  std::chrono::steady_clock::time_point paused_ = begin_;
  double flop_ = 0;
  RunEnergy energy_;
  double earlier_seconds_ = 0;
};

}  // namespace dtrain::train
