#pragma once

#include <ctime>
#include <optional>
#include <string>

#include "launcher/options.h"
#include "launcher/session/slurm_job.h"

namespace dtrain::launcher {

/// How long a command has from its beginning on, and who says so.
struct TimeLimit {
  double seconds = 0;
  /// "--max-time 6h" or "SLURM job 7".
  std::string source;

  /// What of it is kept for the end of a step and its checkpoint: a tenth, at most two minutes.
  double reserve() const;
};

/// The sooner of --max-time and the end of the job, which --max-time none leaves out. Nothing where neither is known.
std::optional<TimeLimit> time_limit(const Options& options, const std::optional<SlurmJob>& job, std::time_t now);

/// What train or compare does on a signal and at the limit, in a line; empty where there is neither a limit nor a job.
std::string stop_plan_text(const Options& options, const std::optional<SlurmJob>& job,
                           const std::optional<TimeLimit>& limit);

/// A job that SLURM has started again goes on with what it wrote before: in `options` --overwrite becomes --resume, with a
/// note.
void go_on_after_restart(Options& options, const std::optional<SlurmJob>& job);

}  // namespace dtrain::launcher
