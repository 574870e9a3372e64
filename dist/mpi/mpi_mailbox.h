#pragma once

#include <mpi.h>

#include <chrono>
#include <memory>

#include "dist/mailbox.h"

namespace dtrain::dist {

/// Over the ranks of `parent`, on a duplicate of it. Collective; throws CommunicationError where a rank does not come
/// within `timeout`. What was posted and not yet sent when it is destroyed is lost, and so is the duplicate: whoever
/// ends in peace has read all letters, and nobody waits for the others.
std::unique_ptr<Mailbox> make_mpi_mailbox(MPI_Comm parent, std::chrono::milliseconds timeout);

}  // namespace dtrain::dist
