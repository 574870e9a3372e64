#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace dtrain::dist {

/// How many collectives each rank of a communicator has started, kept beside the collectives in memory that the ranks
/// of a node share: neither MPI nor NCCL tells which rank a collective waits for.
class RankCounters {
 public:
  using Counter = std::atomic<std::int64_t>;

  /// `counters[rank]`: where that rank counts, null where it cannot be seen from here. They must outlive this.
  /// `names[rank]`: its number in MPI_COMM_WORLD, by which messages call it. `rank` is this one. `beats`, where there
  /// are any, move while a rank waits. `hosts[rank]`: where each runs, needed for those that cannot be seen.
  RankCounters(std::vector<Counter*> counters, std::vector<int> names, int rank, std::vector<Counter*> beats = {},
               std::vector<std::string> hosts = {});

  /// Counts one more collective as started by this rank and returns its number, from 1.
  std::int64_t start();

  /// The number of the last collective this rank started.
  std::int64_t last() const;

  /// Shows the others that this rank, which waits, is alive.
  void beat();
  /// Shows the others that this rank has given up waiting.
  void give_up();

  /// Who has not started collective `number`: "ranks 1, 3 did not come (they are at #16)". Where all have:
  /// who has stopped moving since; it takes a fifth of a second to see that. Of other nodes: "unknown (rank 6 on n2)".
  std::string who_did_not_come(std::int64_t number) const;

  /// "rank 3 is at #16".
  std::string where_is(int rank) const;

 private:
  std::vector<int> who_stands_still() const;

  std::vector<Counter*> counters_;
  std::vector<int> names_;
  int rank_;
  std::vector<Counter*> beats_;
  std::vector<std::string> hosts_;
};

}  // namespace dtrain::dist
