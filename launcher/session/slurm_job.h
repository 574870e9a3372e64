#pragma once

#include <ctime>
#include <optional>
#include <string>

#include "launcher/session/launch_variables.h"

namespace dtrain::launcher {

/// The SLURM job that this process is in.
struct SlurmJob {
  /// "7", or "7_2" in an array.
  std::string id;
  /// When SLURM ends it. Nothing where SLURM_JOB_END_TIME is not set, as before SLURM 23.02 but for scripts/dtrain.sbatch.
  std::optional<std::time_t> end;
  /// How often SLURM has started it again.
  int restarts = 0;
};

/// Nothing where this process is in none.
std::optional<SlurmJob> slurm_job(const Variables& variables);

}  // namespace dtrain::launcher
