#pragma once

#include <optional>

namespace dtrain::launcher {

/// What the ranks have said of their ends.
struct LowestRanks {
  /// The lowest rank that failed; the number of ranks where none did.
  int failed;
  /// Likewise, with a failed collective (exit code 5).
  int in_collective;
};

/// What a rank does at the end.
struct JobEnd {
  /// Prints its message.
  bool prints = false;
  /// Messages name their rank.
  bool names_rank = false;
  /// The exit code of this rank is everybody's; unset: each keeps its own.
  std::optional<int> exit_code_of = {};
  /// Ends the job in place of finalising MPI.
  bool aborts = false;
};

/// How rank `rank` of `size` ends, with exit code `exit_code`; `lowest` is unset where some ranks did not come in time.
/// Where all came, the first that failed prints, and its exit code is the job's; where some did not, whoever failed
/// prints and ends the job, as the others may wait for it in a collective. After a failed collective on any rank the
/// job is ended as well: what is under way cannot be finalised.
JobEnd end_of_job(int rank, int size, int exit_code, const std::optional<LowestRanks>& lowest);

}  // namespace dtrain::launcher
