#include "dist/node_counters.h"

#include <new>
#include <numeric>

namespace dtrain::dist {

using Counter = RankCounters::Counter;
static_assert(Counter::is_always_lock_free, "counters are read by other processes");

struct NodeCounters::Shared {
  MPI_Comm node = MPI_COMM_NULL;
  MPI_Win window = MPI_WIN_NULL;
  std::vector<Counter*> own;
  std::vector<Counter*> beside;
  std::vector<int> names;
  int rank = 0;
};

NodeCounters::Shared NodeCounters::share(MPI_Comm communicator) {
  Shared shared;
  int size = 0;
  MPI_Comm_rank(communicator, &shared.rank);
  MPI_Comm_size(communicator, &size);
  MPI_Comm_split_type(communicator, MPI_COMM_TYPE_SHARED, shared.rank, MPI_INFO_NULL, &shared.node);

  // One cache line a rank, so that ranks that count do not disturb each other.
  constexpr MPI_Aint kBytes = 64;
  Counter* mine = nullptr;
  MPI_Win_allocate_shared(kBytes, 1, MPI_INFO_NULL, shared.node, &mine, &shared.window);
  new (mine) Counter(0);
  new (mine + 1) Counter(0);
  MPI_Barrier(shared.node);

  MPI_Group all, node, world;
  MPI_Comm_group(communicator, &all);
  MPI_Comm_group(shared.node, &node);
  MPI_Comm_group(MPI_COMM_WORLD, &world);
  std::vector<int> ranks(size), on_node(size);
  std::iota(ranks.begin(), ranks.end(), 0);
  shared.names.resize(size);
  MPI_Group_translate_ranks(all, size, ranks.data(), world, shared.names.data());
  MPI_Group_translate_ranks(all, size, ranks.data(), node, on_node.data());
  for (MPI_Group* group : {&all, &node, &world}) MPI_Group_free(group);

  for (const int rank : on_node) {
    Counter* counter = nullptr;
    if (rank != MPI_UNDEFINED) {
      MPI_Aint bytes = 0;
      int unit = 0;
      MPI_Win_shared_query(shared.window, rank, &bytes, &unit, &counter);
    }
    shared.own.push_back(counter);
    shared.beside.push_back(counter == nullptr ? nullptr : counter + 1);
  }
  return shared;
}

NodeCounters::NodeCounters(MPI_Comm communicator) : NodeCounters(share(communicator)) {}

NodeCounters::NodeCounters(Shared shared)
    : node_(shared.node),
      window_(shared.window),
      own_(std::move(shared.own), shared.names, shared.rank),
      beside_(std::move(shared.beside), shared.names, shared.rank) {}

void NodeCounters::free() {
  MPI_Win_free(&window_);
  MPI_Comm_free(&node_);
}

}  // namespace dtrain::dist
