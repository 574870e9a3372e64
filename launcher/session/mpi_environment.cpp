#include "launcher/session/mpi_environment.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <thread>

#include "base/error.h"
#include "dist/mpi/mpi_work.h"
#include "launcher/session/cut_files.h"
#include "launcher/session/job_end.h"
#include "launcher/terminal_log.h"

namespace dtrain::launcher {
namespace {

// What ranks may be apart that have agreed on the end, and where one has failed.
constexpr std::chrono::seconds kToFinalize(60);
constexpr std::chrono::seconds kForTheOthers(3);

// Polls, as nothing bounds MPI_Wait.
bool ends_in(std::chrono::seconds bound, MPI_Request& request) {
  const auto deadline = std::chrono::steady_clock::now() + bound;
  int done = 0;
  while (done == 0 && std::chrono::steady_clock::now() < deadline) {
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return done != 0;
}

}  // namespace

MpiEnvironment::MpiEnvironment(int* argc, char*** argv) {
  // A single process must start where OpenMPI's daemon is missing, too.
  if (!launched_rank(variables_before_)) setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
  // OpenMPI's default for MPI_Iallreduce takes twice the time of MPI_Allreduce; Rabenseifner's algorithm takes the same
  // (90 MB over 2 ranks of one node: 124, 51 and 50 ms).
  setenv("OMPI_MCA_coll_libnbc_iallreduce_algorithm", "3", 0);
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
  note_cut_files();  // here, as MPI has a handler of its own
}

MpiEnvironment::~MpiEnvironment() {
  // MPI_Finalize waits for every rank and cannot be polled: all must have come.
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Ibarrier(MPI_COMM_WORLD, &request);
  if (!ends_in(kToFinalize, request)) {
    print_error(fmt::format("rank {}: not every rank came to the end within {} s", rank_, kToFinalize.count()));
    MPI_Abort(MPI_COMM_WORLD, CommunicationError::kExitCode);
  }
  MPI_Finalize();
}

int MpiEnvironment::agree_on_end(int exit_code, const std::string& message) const {
  // The lowest rank that failed, and the lowest with a failed collective.
  const std::array<int, 2> mine = {exit_code == 0 ? size_ : rank_,
                                   exit_code == CommunicationError::kExitCode ? rank_ : size_};
  std::array<int, 2> lowest = {size_, size_};
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Iallreduce(mine.data(), lowest.data(), 2, MPI_INT, MPI_MIN, MPI_COMM_WORLD, &request);
  std::optional<LowestRanks> heard;
  if (ends_in(exit_code == 0 ? std::chrono::hours(24) : kForTheOthers, request)) {
    heard = {.failed = lowest[0], .in_collective = lowest[1]};
  }
  const JobEnd end = end_of_job(rank_, size_, exit_code, heard);
  if (end.prints && exit_code == Stopped::kExitCode) print_notice(message);
  if (end.prints && exit_code != Stopped::kExitCode) {
    print_error(end.names_rank ? fmt::format("rank {}: {}", rank_, message) : message);
  }
  if (end.exit_code_of) {
    MPI_Ibcast(&exit_code, 1, MPI_INT, *end.exit_code_of, MPI_COMM_WORLD, &request);
    if (!ends_in(kToFinalize, request)) MPI_Abort(MPI_COMM_WORLD, CommunicationError::kExitCode);
  }
  if (end.aborts) MPI_Abort(MPI_COMM_WORLD, exit_code);
  return exit_code;
}

Node node_of_this_rank(std::chrono::milliseconds timeout) {
  Node node;
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  // MPI_Comm_split_type cannot be polled: all ranks must have come.
  dist::complete("the meeting of all ranks", timeout, {},
                 [](MPI_Request* request) { return MPI_Ibarrier(MPI_COMM_WORLD, request); });
  MPI_Comm ranks = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &ranks);
  MPI_Comm_size(ranks, &node.size);
  const at::Tensor lowest = at::full({1}, rank, at::kInt);
  dist::complete("finding the ranks of a node", timeout, {lowest},
                 [&](MPI_Request* request) { return MPI_Ibcast(lowest.data_ptr(), 1, MPI_INT, 0, ranks, request); });
  node.lowest_rank = lowest.item<int>();
  MPI_Comm_free(&ranks);
  return node;
}

}  // namespace dtrain::launcher
