#include "dist/mpi/node_counters.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <numeric>
#include <random>

#include "dist/mpi/mpi_work.h"

namespace dtrain::dist {

namespace {

using Counter = RankCounters::Counter;
static_assert(Counter::is_always_lock_free, "counters are read by other processes");

// A cache line a rank, so that ranks that count do not disturb each other.
struct alignas(64) Line {
  Counter own{0};
  Counter beside{0};
  Counter beat{0};
};

// Null where that cannot be.
std::shared_ptr<void> map(int file, std::size_t bytes) {
  void* memory = file < 0 ? MAP_FAILED : mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (file >= 0) close(file);
  if (memory == MAP_FAILED) return nullptr;
  return {memory, [bytes](void* mapped) { munmap(mapped, bytes); }};
}

// A name of shared memory, which goes when all have it open: nothing stays behind a killed job. Empty: none.
struct SharedName {
  const char* text;
  ~SharedName() {
    if (text[0] != '\0') shm_unlink(text);
  }
};

// One piece of memory for all ranks of `node`, filled with zeros, which are counters at 0. Collective; null where this
// rank cannot see it.
std::shared_ptr<void> share(MPI_Comm node, int node_rank, std::size_t bytes, std::chrono::milliseconds timeout) {
  constexpr std::size_t kNameBytes = 64;
  const at::Tensor shared = at::zeros({kNameBytes}, at::kByte);  // MPI may write it after a timeout
  char* name = static_cast<char*>(shared.data_ptr());
  std::shared_ptr<void> memory;
  if (node_rank == 0) {
    std::random_device random;
    fmt::format_to_n(name, kNameBytes - 1, "/dtrain-{}-{:08x}{:08x}", getpid(), random(), random());
    int file = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file >= 0 && posix_fallocate(file, 0, static_cast<off_t>(bytes)) != 0) {
      shm_unlink(name);
      close(file);
      file = -1;
    }
    if (file < 0) name[0] = '\0';
    memory = map(file, bytes);
  }
  const SharedName until_all_have_it{node_rank == 0 ? name : ""};
  complete("naming the counters of a node", timeout, {shared},
           [&](MPI_Request* request) { return MPI_Ibcast(name, kNameBytes, MPI_CHAR, 0, node, request); });
  if (node_rank != 0 && name[0] != '\0') memory = map(shm_open(name, O_RDWR | O_CLOEXEC, 0), bytes);
  complete("sharing the counters of a node", timeout, {},
           [&](MPI_Request* request) { return MPI_Ibarrier(node, request); });
  return memory;
}

// The host of each rank. Collective, and ends when all ranks have come.
std::vector<std::string> hosts_of(MPI_Comm communicator, int rank, int size, std::chrono::milliseconds timeout) {
  constexpr int kHostBytes = HOST_NAME_MAX + 1;
  const at::Tensor hosts = at::zeros({size, kHostBytes}, at::kByte);  // MPI may write it after a timeout
  char* first = static_cast<char*>(hosts.data_ptr());
  gethostname(first + static_cast<std::ptrdiff_t>(rank) * kHostBytes, kHostBytes - 1);
  complete(fmt::format("making the counters of {} ranks", size), timeout, {hosts}, [&](MPI_Request* request) {
    return MPI_Iallgather(MPI_IN_PLACE, 0, MPI_CHAR, first, kHostBytes, MPI_CHAR, communicator, request);
  });
  std::vector<std::string> found;
  for (std::ptrdiff_t i = 0; i < size; ++i) found.emplace_back(first + i * kHostBytes);
  return found;
}

}  // namespace

NodeCounters::NodeCounters(MPI_Comm communicator, std::chrono::milliseconds timeout) {
  int rank = 0, size = 0, node_rank = 0, node_size = 0;
  MPI_Comm_rank(communicator, &rank);
  MPI_Comm_size(communicator, &size);
  // MPI_Comm_split_type cannot be polled: all ranks must have come.
  const std::vector<std::string> hosts = hosts_of(communicator, rank, size, timeout);
  MPI_Comm node_ranks = MPI_COMM_NULL;
  MPI_Comm_split_type(communicator, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node_ranks);
  MPI_Comm_rank(node_ranks, &node_rank);
  MPI_Comm_size(node_ranks, &node_size);
  memory_ = share(node_ranks, node_rank, node_size * sizeof(Line), timeout);

  MPI_Group all, node, world;
  MPI_Comm_group(communicator, &all);
  MPI_Comm_group(node_ranks, &node);
  MPI_Comm_group(MPI_COMM_WORLD, &world);
  std::vector<int> ranks(size), names(size), on_node(size);
  std::iota(ranks.begin(), ranks.end(), 0);
  MPI_Group_translate_ranks(all, size, ranks.data(), world, names.data());
  MPI_Group_translate_ranks(all, size, ranks.data(), node, on_node.data());
  for (MPI_Group* group : {&all, &node, &world}) MPI_Group_free(group);
  MPI_Comm_free(&node_ranks);

  const bool alone = memory_ == nullptr;
  if (alone) memory_ = std::make_shared<Line>();
  Line* lines = static_cast<Line*>(memory_.get());
  std::vector<Counter*> own(size, nullptr), beside(size, nullptr), beats(size, nullptr);
  for (int other = 0; other < size; ++other) {
    if (other != rank && (alone || on_node[other] == MPI_UNDEFINED)) continue;
    Line& line = lines[alone ? 0 : on_node[other]];
    own[other] = &line.own;
    beside[other] = &line.beside;
    beats[other] = &line.beat;
  }
  own_ = std::make_unique<RankCounters>(std::move(own), names, rank, std::move(beats), hosts);
  beside_ = std::make_unique<RankCounters>(std::move(beside), names, rank, std::vector<Counter*>{}, hosts);
}

}  // namespace dtrain::dist
