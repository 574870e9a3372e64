#pragma once

#include <functional>
#include <optional>
#include <string>

namespace dtrain::launcher {

/// Looks up a variable of the environment; null where it is not set.
using Variables = std::function<const char*(const char*)>;

/// The environment of this process.
Variables process_environment();
/// What it is now, whatever is set later.
Variables copied_environment();

/// The rank that a launcher started this process as, known before MPI is; nothing: it was started alone.
std::optional<std::string> launched_rank(const Variables& variables);

/// Throws UsageError where a launcher (mpirun, srun, MPICH's, torchrun) says that it started more ranks than the
/// `ranks` that MPI sees: each would be a run of its own, all on one output directory.
void check_world_size(int ranks, const Variables& variables);

}  // namespace dtrain::launcher
