#pragma once

#include <mpi.h>

#include <chrono>
#include <cstdint>
#include <memory>

#include "dist/communicator.h"

namespace dtrain::dist {

/// Host tensors over MPI, on a duplicate of `parent` (MPI must be initialised with at least MPI_THREAD_FUNNELED and
/// outlive the result). Collective. Every operation is non-blocking and polled against `timeout`; of those that MPI has
/// as blocking calls alone, splits of communicators, a barrier before them finds who does not come. The ranks of a node
/// see each other's counters in shared memory, so that an error can name who did not come. What is longer than
/// `piece_elements` goes in pieces: the bytes of 2^27 doubles are the most that MPI's int can count, too.
///
/// MPI_COMM_WORLD is set to return errors, not to abort. After a failure, or when an exception passes through, nobody
/// is waited for, collectives may be under way, and the process should end by MPI_Abort, not MPI_Finalize.
std::unique_ptr<Communicator> make_mpi_communicator(MPI_Comm parent, std::chrono::milliseconds timeout,
                                                    std::int64_t piece_elements = std::int64_t{1} << 27);

}  // namespace dtrain::dist
