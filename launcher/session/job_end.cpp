#include "launcher/session/job_end.h"

namespace dtrain::launcher {

JobEnd end_of_job(int rank, int size, int exit_code, const std::optional<LowestRanks>& lowest) {
  if (!lowest) return {.prints = exit_code != 0, .names_rank = size > 1, .aborts = true};
  JobEnd end;
  end.prints = exit_code != 0 && lowest->failed == rank;
  end.names_rank = size > 1 && lowest->failed != 0;
  if (lowest->failed < size) end.exit_code_of = lowest->failed;
  end.aborts = lowest->in_collective < size;
  return end;
}

}  // namespace dtrain::launcher
