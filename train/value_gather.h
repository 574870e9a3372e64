#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "dist/communicator.h"
#include "dist/shard_layout.h"
#include "train/flat_parameters.h"

namespace dtrain::train {

/// Brings a rank the values that the others have updated, where the optimiser is sharded: rows of lookup tables at
/// once, all else bucket by bucket while the next forward pass runs. Whoever reads a value joins it before, and whoever
/// reads them all waits.
///
/// Buckets start in the reverse order of the flat buffer, which is about the order in which the forward pass reads them
/// (FlatParameters), and arrive in it: behind a place that has arrived all has.
class ValueGather {
 public:
  /// Of `parameters`, which must outlive it.
  explicit ValueGather(const FlatParameters& parameters) : parameters_(parameters) {}
  /// Waits for what is under way, also where an exception passes through: the others started it in the same step, or do
  /// so without this rank. After a failed collective, or the timeout, it is left, and the communicator with it.
  ~ValueGather();
  ValueGather(const ValueGather&) = delete;
  ValueGather& operator=(const ValueGather&) = delete;

  /// Replaces the rows `all` of `table` [n, columns] by those of the ranks that updated them: `own` are this rank's,
  /// and in `all` the ranks' rows follow each other in the order of the ranks. Collective; returns when they are here.
  void gather_rows(dist::Communicator& ranks, const at::Tensor& table, const std::vector<std::int64_t>& own,
                   const std::vector<std::int64_t>& all);
  /// Begins to gather the buckets, of which each rank has its share. Collective; nothing may be under way.
  void start(dist::Communicator& ranks, const dist::ShardLayout& layout);

  /// What is computed from now on reads the value of parameter `index` as it will be. On a device the host goes on: it
  /// is to call `wait` before it waits for the stream. Moves on what is under way.
  void join(std::size_t index);
  /// Returns when all values are here.
  void wait();

  /// Since it was made: what the host waited for here, and payload handed to the back end.
  double seconds() const { return seconds_; }
  std::int64_t bytes() const { return bytes_; }

 private:
  struct UnderWay {
    std::int64_t end;  // of the bucket in the flat buffer
    std::unique_ptr<dist::Work> work;
  };

  /// From where on the flat buffer is here.
  std::int64_t here_from() const { return joined_ == under_way_.size() ? 0 : under_way_[joined_].end; }
  /// Tells the parameters that have come to be here that their values have changed.
  void announce();

  const FlatParameters& parameters_;
  std::vector<UnderWay> under_way_;  // in the order in which they were started
  std::size_t joined_ = 0;           // of them
  std::size_t announced_from_ = 0;   // of the parameters
  double seconds_ = 0;
  std::int64_t bytes_ = 0;
};

}  // namespace dtrain::train
