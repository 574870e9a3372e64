// Two ranks of which rank 1 meets with the fault that the argument names. faults_test.sh holds what comes out.

#include <ATen/ATen.h>
#include <mpi.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "base/error.h"
#include "dist/mpi/mpi_communicator.h"

namespace {

void all_reduce_with_a_fault(const std::string& fault, int rank) {
  using namespace dtrain;
  if (fault == "absent" && rank == 1) pause();
  const auto communicator = dist::make_mpi_communicator(MPI_COMM_WORLD, std::chrono::seconds(2));
  const at::Tensor tensor = at::ones({100'000});
  for (int step = 1; step <= 1000; ++step) {
    if (rank == 1 && step == 5) {
      if (fault == "killed") raise(SIGKILL);
      if (fault == "stopped") raise(SIGSTOP);
      if (fault == "throws") throw InputError("the fault of rank 1");
    }
    communicator->all_reduce(tensor);
  }
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  try {
    all_reduce_with_a_fault(argv[1], rank);
  } catch (const dtrain::Error& error) {
    std::printf("rank %d: %s\n", rank, error.what());
    std::fflush(stdout);
    MPI_Abort(MPI_COMM_WORLD, error.exit_code());
  }
  MPI_Finalize();
  return 0;
}
