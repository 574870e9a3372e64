#pragma once

#include <mpi.h>

#include <chrono>
#include <memory>

#include "dist/communicator.h"

namespace dtrain::dist {

/// Host tensors over MPI, on a duplicate of `parent` (MPI must be initialised with at least MPI_THREAD_FUNNELED and
/// outlive the result). Collective. Every operation is non-blocking and polled against `timeout`. The ranks of a node
/// see each other's counters in shared memory, so that an error can name who did not come.
std::unique_ptr<Communicator> make_mpi_communicator(MPI_Comm parent, std::chrono::milliseconds timeout);

}  // namespace dtrain::dist
