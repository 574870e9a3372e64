#include "dist/gradient_reducer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace dtrain::dist {

struct GradientReducer::Bucket {
  at::Tensor gradients;        // a view into the flat ones
  std::vector<char> is_ready;  // by parameter of this bucket
  std::size_t first_parameter;
  std::size_t missing;         // how many are not ready
  std::unique_ptr<Work> work;  // null while not started
};

GradientReducer::GradientReducer(Communicator& communicator, at::Tensor flat_gradients,
                                 std::vector<std::int64_t> offsets, std::int64_t bucket_bytes, bool overlap,
                                 const std::vector<std::size_t>& left_out)
    : communicator_(communicator), flat_gradients_(std::move(flat_gradients)), overlap_(overlap) {
  if (flat_gradients_.dim() != 1 || !flat_gradients_.is_contiguous() || offsets.empty() || offsets.front() != 0 ||
      offsets.back() != flat_gradients_.numel()) {
    throw std::logic_error(
        fmt::format("gradient reducer: expected flat gradients and offsets from 0 to their length, "
                    "found {} elements and {} offsets that end at {}",
                    flat_gradients_.numel(), offsets.size(), offsets.empty() ? 0 : offsets.back()));
  }
  const std::size_t parameters = offsets.size() - 1;
  const auto is_left_out = [&](std::size_t i) { return std::binary_search(left_out.begin(), left_out.end(), i); };
  bucket_of_.assign(parameters, parameters);
  std::size_t first = 0;
  for (std::size_t i = 0; i < parameters; ++i) {
    if (is_left_out(i)) {
      first = i + 1;
      continue;
    }
    bucket_of_[i] = buckets_.size();
    const std::int64_t elements = offsets[i + 1] - offsets[first];
    const bool is_last = i + 1 == parameters || is_left_out(i + 1);
    if (elements * flat_gradients_.element_size() < bucket_bytes && !is_last) continue;
    const std::size_t members = i + 1 - first;
    buckets_.push_back({.gradients = flat_gradients_.narrow(0, offsets[first], elements),
                        .is_ready = std::vector<char>(members, 0),
                        .first_parameter = first,
                        .missing = members,
                        .work = nullptr});
    first = i + 1;
  }
}

GradientReducer::~GradientReducer() = default;

void GradientReducer::ready(std::size_t index) {
  if (bucket_of_.at(index) == bucket_of_.size()) return;
  Bucket& bucket = buckets_[bucket_of_[index]];
  char& is_ready = bucket.is_ready[index - bucket.first_parameter];
  if (is_ready)
    throw std::logic_error(fmt::format("gradient {} was ready twice in one step; call finish() once a step", index));
  is_ready = 1;
  --bucket.missing;
  if (!overlap_ || communicator_.size() == 1) return;
  start_in_order();
  for (std::size_t i = 0; i < next_; ++i) buckets_[i].work->test();
}

void GradientReducer::start_in_order() {
  for (; next_ < buckets_.size() && buckets_[next_].missing == 0; ++next_) {
    buckets_[next_].work = communicator_.start_all_reduce(buckets_[next_].gradients);
  }
}

void GradientReducer::finish() {
  for (Bucket& bucket : buckets_) bucket.missing = 0;
  if (communicator_.size() > 1) start_in_order();
  for (Bucket& bucket : buckets_) {
    // Not join_stream: the host reads the norm of these gradients next, and no timeout would end that for a lost rank.
    if (bucket.work) bucket.work->wait();
    bucket.work.reset();
    bucket.missing = bucket.is_ready.size();
    std::ranges::fill(bucket.is_ready, 0);
  }
  next_ = 0;
}

std::int64_t GradientReducer::bytes_per_step() const {
  std::int64_t bytes = 0;
  for (const Bucket& bucket : buckets_) bytes += static_cast<std::int64_t>(bucket.gradients.nbytes());
  return communicator_.size() == 1 ? 0 : bytes;
}

}  // namespace dtrain::dist
