#include "dist/tree_reduction.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"

namespace dtrain::dist {

void tree_reduce(Communicator& communicator, const at::Tensor& shards) {
  if (shards.dim() != 2 || !shards.is_contiguous() || shards.size(0) < 1) {
    throw CommunicationError(
        fmt::format("tree_reduce: expected contiguous shards [1 or more, n], found {} dimensions", shards.dim()));
  }
  const std::int64_t per_rank = shards.size(0);
  const std::int64_t virtual_ranks = per_rank * communicator.size();
  const auto owner = [&](std::int64_t shard) { return static_cast<int>(shard / per_rank); };
  const auto row = [&](std::int64_t shard) { return shards[shard % per_rank]; };
  at::Tensor received;
  // Every rank walks the same pairs in the same order, so that sends meet their receives.
  for (std::int64_t stride = 1; stride < virtual_ranks; stride *= 2) {
    for (std::int64_t left = 0; left + stride < virtual_ranks; left += 2 * stride) {
      const std::int64_t right = left + stride;
      const bool left_is_here = owner(left) == communicator.rank();
      const bool right_is_here = owner(right) == communicator.rank();
      if (left_is_here && right_is_here) {
        row(left).add_(row(right));
      } else if (left_is_here) {
        if (!received.defined()) received = at::empty_like(shards[0]);
        communicator.receive(received, owner(right));
        row(left).add_(received);
      } else if (right_is_here) {
        communicator.send(row(right), owner(left));
      }
    }
  }
  communicator.broadcast(shards[0], 0);
}

}  // namespace dtrain::dist
