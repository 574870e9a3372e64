// A scheduler that is early, for LD_PRELOAD: SIGUSR1 comes to each rank before MPI is initialised.

#include <mpi.h>

#include <csignal>

extern "C" int MPI_Init_thread(int* argc, char*** argv, int required, int* provided) {
  std::raise(SIGUSR1);
  return PMPI_Init_thread(argc, argv, required, provided);
}
