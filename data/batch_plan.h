#pragma once

#include <cstdint>
#include <vector>

namespace dtrain::data {

/// Which examples a step trains on: a function of (lengths, seed, epoch, step) alone, never of the number of ranks.
///
/// Each epoch shuffles the examples, sorts windows of 50 batches by length, cuts them into batches, and shuffles the
/// batches (as Hugging Face's LengthGroupedSampler, without its bias: every example once an epoch; the last batch of an
/// epoch may be smaller).
class BatchPlan {
 public:
  BatchPlan(std::vector<std::int32_t> lengths, std::int64_t batch_size, std::uint64_t seed);

  std::int64_t steps_per_epoch() const;
  /// Example indices of global step `step` (from 0; the epoch follows from it), the longest first.
  std::vector<std::int64_t> batch(std::int64_t step) const;

 private:
  const std::vector<std::vector<std::int64_t>>& epoch(std::int64_t number) const;

  std::vector<std::int32_t> lengths_;
  std::int64_t batch_size_;
  std::uint64_t seed_;
  mutable std::int64_t cached_epoch_ = -1;
  mutable std::vector<std::vector<std::int64_t>> cached_batches_;
};

/// The part of `batch` (longest first) that shard `shard` of `shards` computes: dealt in turn, back and forth
/// (0 1 2 2 1 0 ...), so that tokens spread evenly. May be empty.
std::vector<std::int64_t> share_of_batch(const std::vector<std::int64_t>& batch, int shard, int shards);

/// Batches for evaluation, each of at most `token_budget` tokens (at least one example), of similar length. A function
/// of the lengths alone: dealt whole to the ranks, scores do not depend on how many there are.
std::vector<std::vector<std::int64_t>> evaluation_batches(const std::vector<std::int32_t>& lengths,
                                                          std::int64_t token_budget);

}  // namespace dtrain::data
