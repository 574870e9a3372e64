// A rank that is held at a moment of its work, for LD_PRELOAD, so that a test can do something to it, or to another
// rank, right there. It is the rank TEST_HOLD_RANK, which comes for the TEST_HOLD_COUNT-th time to the call
// TEST_HOLD_CALL (open, write, sync, rename) of a file whose path (of rename: the new one) matches TEST_HOLD_PATH, as
// in a shell; and then, where TEST_HOLD_COLLECTIVE is above 0, to its so manieth collective of MPI. It makes the file
// TEST_HOLD.reached, and goes on when the file TEST_HOLD.open is there, or after a minute.

#undef _FORTIFY_SOURCE
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string>

#include "tests/launcher/interposed_open.h"

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

struct Moment {
  std::string call = variable("TEST_HOLD_CALL");
  std::string path = variable("TEST_HOLD_PATH");
  std::string file = variable("TEST_HOLD");
  bool is_of_this_rank = variable("TEST_HOLD_RANK") == variable("OMPI_COMM_WORLD_RANK");
  std::atomic<int> calls_left = std::atoi(variable("TEST_HOLD_COUNT").c_str());
  std::atomic<int> collectives_left = std::atoi(variable("TEST_HOLD_COLLECTIVE").c_str());
};

Moment& moment() {
  static Moment here;
  return here;
}

void hold() {
  const int error = errno;
  const std::string reached = moment().file + ".reached";
  const std::string open = moment().file + ".open";
  syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, reached.c_str(), O_WRONLY | O_CREAT, 0666));
  const timespec pause{0, 5'000'000};
  for (int left = 12'000; left > 0 && access(open.c_str(), F_OK) != 0; --left) nanosleep(&pause, nullptr);
  errno = error;
}

void come_to(const char* call, const std::string& path) {
  if (environ == nullptr) return;  // before the libraries are initialised
  Moment& here = moment();
  if (!here.is_of_this_rank || here.call != call || fnmatch(here.path.c_str(), path.c_str(), 0) != 0) return;
  if (--here.calls_left == 0 && here.collectives_left == 0) hold();
}

void come_to_collective() {
  Moment& here = moment();
  if (here.is_of_this_rank && here.calls_left <= 0 && here.collectives_left > 0 && --here.collectives_left == 0) hold();
}

std::string path_of(int descriptor) {
  char name[PATH_MAX];
  const ssize_t size = readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), name, sizeof name);
  return size > 0 ? std::string(name, static_cast<std::size_t>(size)) : std::string();
}

void come_to_descriptor(const char* call, int descriptor) {
  if (environ != nullptr && moment().call == call) come_to(call, path_of(descriptor));
}

int opened(int directory, const char* name, int flags, mode_t mode) {
  come_to("open", name);
  return static_cast<int>(syscall(SYS_openat, directory, name, flags, mode));
}

}  // namespace

extern "C" {

ssize_t write(int descriptor, const void* bytes, size_t size) {
  come_to_descriptor("write", descriptor);
  return syscall(SYS_write, descriptor, bytes, size);
}
ssize_t writev(int descriptor, const struct iovec* parts, int count) {
  come_to_descriptor("write", descriptor);
  return syscall(SYS_writev, descriptor, parts, count);
}

int fsync(int descriptor) {
  come_to_descriptor("sync", descriptor);
  return static_cast<int>(syscall(SYS_fsync, descriptor));
}

int rename(const char* from, const char* to) {
  come_to("rename", to);
  return static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}

int MPI_Iallreduce(const void* mine, void* all, int count, MPI_Datatype type, MPI_Op operation, MPI_Comm communicator,
                   MPI_Request* request) {
  come_to_collective();
  return PMPI_Iallreduce(mine, all, count, type, operation, communicator, request);
}
int MPI_Ibcast(void* bytes, int count, MPI_Datatype type, int root, MPI_Comm communicator, MPI_Request* request) {
  come_to_collective();
  return PMPI_Ibcast(bytes, count, type, root, communicator, request);
}
int MPI_Iallgather(const void* mine, int count, MPI_Datatype type, void* all, int of_each, MPI_Datatype type_of_all,
                   MPI_Comm communicator, MPI_Request* request) {
  come_to_collective();
  return PMPI_Iallgather(mine, count, type, all, of_each, type_of_all, communicator, request);
}

}  // extern "C"
