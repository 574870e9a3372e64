#pragma once

#include <chrono>
#include <ctime>
#include <optional>
#include <string>

#include "launcher/session/launch_variables.h"

namespace dtrain::launcher {

/// The SLURM job that this process is in.
struct SlurmJob {
  /// "7", or "7_2" in an array.
  std::string id;
  /// When SLURM ends it. Nothing where SLURM_JOB_END_TIME is not set, as before SLURM 23.02 but for
  /// scripts/dtrain.sbatch; then squeue_end may know.
  std::optional<std::time_t> end;
  /// How often SLURM has started it again.
  int restarts = 0;
};

/// Nothing where this process is in none.
std::optional<SlurmJob> slurm_job(const Variables& variables);

/// When SLURM ends a job, as the squeue on the PATH says. Nothing where there is no squeue, it does not answer within
/// `patience`, or the job has no end.
std::optional<std::time_t> squeue_end(const std::string& job, std::chrono::milliseconds patience);

}  // namespace dtrain::launcher
