// An interconnect that carries nothing more, for LD_PRELOAD: no collective of the communicators ends, on any rank. The
// file that TEST_DEAF_FROM names, once there, says when that begins.

#include <mpi.h>
#include <unistd.h>

#include <cstdlib>

extern "C" int MPI_Testall(int count, MPI_Request requests[], int* flag, MPI_Status statuses[]) {
  static const char* begin = std::getenv("TEST_DEAF_FROM");
  if (begin != nullptr && access(begin, F_OK) == 0) {
    *flag = 0;
    return MPI_SUCCESS;
  }
  return PMPI_Testall(count, requests, flag, statuses);
}
