#pragma once

#include <mpi.h>

#include <chrono>
#include <memory>

#include "dist/rank_counters.h"

namespace dtrain::dist {

/// The counters of the ranks of an MPI communicator, in memory that the ranks of a node share. POSIX memory and not an
/// MPI window: freeing a window is collective, and after a failure would wait for ever. Where the ranks cannot share
/// memory, each sees only itself.
class NodeCounters {
 public:
  /// Collective over `communicator`. Throws CommunicationError where a rank does not come within `timeout`.
  NodeCounters(MPI_Comm communicator, std::chrono::milliseconds timeout);

  /// Counts the collectives of the communicator itself, and those of a back end that runs beside it.
  RankCounters& own() { return *own_; }
  RankCounters& beside() { return *beside_; }

 private:
  std::shared_ptr<void> memory_;  // gives the mapping back
  std::unique_ptr<RankCounters> own_;
  std::unique_ptr<RankCounters> beside_;
};

}  // namespace dtrain::dist
