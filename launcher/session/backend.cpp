#include "launcher/session/backend.h"

#include <fmt/format.h>
#include <mpi.h>

#include "base/error.h"
#include "dist/mpi/mpi_communicator.h"
#include "dist/nccl/nccl_communicator.h"

namespace dtrain::launcher {

std::string choose_backend(const std::string& asked, int ranks, bool is_cuda) {
  if (asked == "auto") return ranks == 1 ? "single" : is_cuda ? "nccl" : "mpi";
  if (asked == "single" && ranks > 1)
    throw UsageError(fmt::format("--backend single serves one rank, there are {}", ranks));
  if (asked == "mpi" && is_cuda)
    throw UsageError("--backend mpi serves the CPU: a device pointer never goes into MPI. Use nccl.");
  if (asked == "nccl" && !is_cuda) throw UsageError("--backend nccl serves GPUs, and this run is on the CPU");
  return asked;
}

std::unique_ptr<dist::Communicator> make_backend(const std::string& name, dist::Communicator& control,
                                                 std::chrono::milliseconds timeout) {
  if (name == "mpi") return dist::make_mpi_communicator(MPI_COMM_WORLD, timeout);
  if (name == "nccl") return dist::make_nccl_communicator(control, timeout);
  return dist::make_single_communicator();
}

}  // namespace dtrain::launcher
