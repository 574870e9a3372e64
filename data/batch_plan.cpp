#include "data/batch_plan.h"

#include <algorithm>
#include <numeric>

#include "base/random.h"

namespace dtrain::data {
namespace {

constexpr std::int64_t kWindowBatches = 50;

}  // namespace

BatchPlan::BatchPlan(std::vector<std::int32_t> lengths, std::int64_t batch_size, std::uint64_t seed)
    : lengths_(std::move(lengths)), batch_size_(batch_size), seed_(seed) {}

std::int64_t BatchPlan::steps_per_epoch() const {
  return (static_cast<std::int64_t>(lengths_.size()) + batch_size_ - 1) / batch_size_;
}

std::vector<std::int64_t> BatchPlan::batch(std::int64_t step) const {
  return epoch(step / steps_per_epoch())[static_cast<std::size_t>(step % steps_per_epoch())];
}

const std::vector<std::vector<std::int64_t>>& BatchPlan::epoch(std::int64_t number) const {
  if (number == cached_epoch_) return cached_batches_;
  SplitMix64 random(stream_seed(seed_, Purpose::order, static_cast<std::uint64_t>(number)));
  std::vector<std::int64_t> order(lengths_.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  shuffle(order, random);
  cached_batches_.clear();
  const auto window = static_cast<std::size_t>(kWindowBatches * batch_size_);
  for (std::size_t begin = 0; begin < order.size(); begin += window) {
    const auto first = order.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last = order.begin() + static_cast<std::ptrdiff_t>(std::min(begin + window, order.size()));
    std::stable_sort(first, last, [&](std::int64_t left, std::int64_t right) {
      return lengths_[static_cast<std::size_t>(left)] > lengths_[static_cast<std::size_t>(right)];
    });
    for (auto position = first; position < last; position += std::min<std::ptrdiff_t>(batch_size_, last - position)) {
      cached_batches_.emplace_back(position, position + std::min<std::ptrdiff_t>(batch_size_, last - position));
    }
  }
  shuffle(cached_batches_, random);
  cached_epoch_ = number;
  return cached_batches_;
}

std::vector<std::int64_t> share_of_batch(const std::vector<std::int64_t>& batch, int shard, int shards) {
  std::vector<std::int64_t> share;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto round = static_cast<int>(i) / shards;
    const auto place = static_cast<int>(i) % shards;
    if ((round % 2 == 0 ? place : shards - 1 - place) == shard) share.push_back(batch[i]);
  }
  return share;
}

std::vector<std::vector<std::int64_t>> evaluation_batches(const std::vector<std::int32_t>& lengths,
                                                          std::int64_t token_budget) {
  std::vector<std::int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t left, std::int64_t right) {
    return lengths[static_cast<std::size_t>(left)] > lengths[static_cast<std::size_t>(right)];
  });
  std::vector<std::vector<std::int64_t>> batches;
  std::int64_t tokens = token_budget + 1;  // opens the first batch
  for (const std::int64_t id : order) {
    const std::int64_t length = lengths[static_cast<std::size_t>(id)];
    if (tokens + length > token_budget) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(id);
    tokens += length;
  }
  return batches;
}

}  // namespace dtrain::data
