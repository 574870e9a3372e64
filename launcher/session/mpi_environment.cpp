#include "launcher/session/mpi_environment.h"

#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "launcher/session/launch_variables.h"
#include "launcher/terminal_log.h"

namespace dtrain::launcher {
namespace {

constexpr int kCommunicationFailed = 5;
constexpr int kStopped = 75;

}  // namespace

MpiEnvironment::MpiEnvironment(int* argc, char*** argv) {
  // A single process must start where OpenMPI's daemon is missing, too.
  if (!launched_rank(process_environment())) setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
  int provided = 0;
  MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &provided);
  if (provided < MPI_THREAD_SERIALIZED) {
    print_error("this MPI library serves one thread alone; expected MPI_THREAD_SERIALIZED");
    MPI_Abort(MPI_COMM_WORLD, 4);
  }
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  // A file that outgrows a limit is an error of that write, not the end of the process.
  std::signal(SIGXFSZ, SIG_IGN);
}

MpiEnvironment::~MpiEnvironment() { MPI_Finalize(); }

int MpiEnvironment::agree_on_end(int exit_code, const std::string& message) const {
  using Clock = std::chrono::steady_clock;
  // The lowest rank that failed, and the lowest with a failed collective.
  const std::array<int, 2> mine = {exit_code == 0 ? size_ : rank_, exit_code == kCommunicationFailed ? rank_ : size_};
  std::array<int, 2> lowest = {size_, size_};
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Iallreduce(mine.data(), lowest.data(), 2, MPI_INT, MPI_MIN, MPI_COMM_WORLD, &request);
  const auto deadline = Clock::now() + std::chrono::seconds(exit_code == 0 ? 86400 : 3);
  int done = 0;
  while (done == 0 && Clock::now() < deadline) {
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const int first_failed = lowest[0];
  const std::string who = size_ > 1 && (done == 0 || first_failed != 0) ? fmt::format("rank {}: ", rank_) : "";
  if (exit_code != 0 && (done == 0 || first_failed == rank_)) {
    if (exit_code == kStopped) print_notice(message);
    if (exit_code != kStopped) print_error(who + message);
  }
  // Some ranks still wait for this one in a collective.
  if (done == 0) MPI_Abort(MPI_COMM_WORLD, exit_code);
  if (first_failed < size_) MPI_Bcast(&exit_code, 1, MPI_INT, first_failed, MPI_COMM_WORLD);
  // A collective that never ended is still under way, and MPI_Finalize might wait for it for ever.
  if (lowest[1] < size_) MPI_Abort(MPI_COMM_WORLD, exit_code);
  return exit_code;
}

Node node_of_this_rank() {
  Node node;
  MPI_Comm_rank(MPI_COMM_WORLD, &node.lowest_rank);
  MPI_Comm ranks = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &ranks);
  MPI_Comm_size(ranks, &node.size);
  MPI_Bcast(&node.lowest_rank, 1, MPI_INT, 0, ranks);
  MPI_Comm_free(&ranks);
  return node;
}

}  // namespace dtrain::launcher
