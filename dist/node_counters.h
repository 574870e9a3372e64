#pragma once

#include <mpi.h>

#include "dist/rank_counters.h"

namespace dtrain::dist {

/// The counters of the ranks of an MPI communicator, in memory that the ranks of a node share.
class NodeCounters {
 public:
  /// Collective over `communicator`, and not bounded in time: every rank must be known to come.
  explicit NodeCounters(MPI_Comm communicator);

  NodeCounters(const NodeCounters&) = delete;
  NodeCounters& operator=(const NodeCounters&) = delete;

  /// Collective. There is no destructor that does it: after a failure it would wait for ever, and the memory is left
  /// to the end of the process.
  void free();

  /// Counts the collectives of the communicator itself, and those of a back end that runs beside it.
  RankCounters& own() { return own_; }
  RankCounters& beside() { return beside_; }

 private:
  struct Shared;
  explicit NodeCounters(Shared shared);
  static Shared share(MPI_Comm communicator);

  MPI_Comm node_;
  MPI_Win window_;
  RankCounters own_;
  RankCounters beside_;
};

}  // namespace dtrain::dist
