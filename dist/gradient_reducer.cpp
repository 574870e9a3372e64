#include "dist/gradient_reducer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace dtrain::dist {

struct GradientReducer::Bucket {
  at::Tensor dealt;  // views into the flat gradients
  at::Tensor rest;
  std::size_t parameters = 0;                     // that reach into it
  std::size_t missing = 0;                        // how many of these are not ready
  std::vector<std::unique_ptr<Work>> works = {};  // none while not started
};

GradientReducer::GradientReducer(Communicator& communicator, at::Tensor flat_gradients,
                                 std::vector<std::int64_t> offsets, const ShardLayout& layout, ReducedTo reduced_to,
                                 bool overlap)
    : communicator_(communicator),
      flat_gradients_(std::move(flat_gradients)),
      reduced_to_(reduced_to),
      overlap_(overlap) {
  if (flat_gradients_.dim() != 1 || !flat_gradients_.is_contiguous() || offsets.empty() || offsets.front() != 0 ||
      offsets.back() != flat_gradients_.numel()) {
    throw std::logic_error(
        fmt::format("gradient reducer: expected flat gradients and offsets from 0 to their length, "
                    "found {} elements and {} offsets that end at {}",
                    flat_gradients_.numel(), offsets.size(), offsets.empty() ? 0 : offsets.back()));
  }
  const auto view = [&](const Stretch& stretch) { return flat_gradients_.narrow(0, stretch.begin, stretch.size()); };
  for (const ShardLayout::Bucket& bucket : layout.buckets()) {
    buckets_.push_back(reduced_to == ReducedTo::shares
                           ? Bucket{.dealt = view(bucket.dealt), .rest = view(bucket.rest)}
                           : Bucket{.dealt = view(bucket.whole()), .rest = view({bucket.rest.end, bucket.rest.end})});
  }
  is_ready_.assign(offsets.size() - 1, 0);
  const auto& cut = layout.buckets();
  std::size_t first = 0;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    // Those that end behind this parameter's begin, and begin before its end.
    while (first < cut.size() && cut[first].rest.end <= offsets[i]) ++first;
    std::size_t last = first;
    while (last < cut.size() && cut[last].dealt.begin < offsets[i + 1] && offsets[i] < offsets[i + 1]) ++last;
    buckets_of_.emplace_back(first, last);
    for (std::size_t b = first; b < last; ++b) ++buckets_[b].parameters;
  }
  for (Bucket& bucket : buckets_) bucket.missing = bucket.parameters;
}

GradientReducer::~GradientReducer() = default;

void GradientReducer::ready(std::size_t index) {
  char& is_ready = is_ready_.at(index);
  if (is_ready)
    throw std::logic_error(fmt::format("gradient {} was ready twice in one step; call finish() once a step", index));
  is_ready = 1;
  for (std::size_t b = buckets_of_[index].first; b < buckets_of_[index].second; ++b) --buckets_[b].missing;
  if (!overlap_ || communicator_.size() == 1) return;
  start_in_order();
  for (std::size_t b = 0; b < next_; ++b) {
    for (const auto& work : buckets_[b].works) work->test();
  }
}

void GradientReducer::start_in_order() {
  for (; next_ < buckets_.size() && buckets_[next_].missing == 0; ++next_) {
    Bucket& bucket = buckets_[next_];
    if (bucket.dealt.numel() > 0) {
      bucket.works.push_back(reduced_to_ == ReducedTo::shares ? communicator_.start_reduce_scatter(bucket.dealt)
                                                              : communicator_.start_all_reduce(bucket.dealt));
    }
    if (bucket.rest.numel() > 0) bucket.works.push_back(communicator_.start_all_reduce(bucket.rest));
  }
}

void GradientReducer::finish() {
  for (Bucket& bucket : buckets_) bucket.missing = 0;
  if (communicator_.size() > 1) start_in_order();
  for (Bucket& bucket : buckets_) {
    // Not join_stream: the host reads the norm of these gradients next, and no timeout would end that for a lost rank.
    for (const auto& work : bucket.works) work->wait();
    bucket.works.clear();
    bucket.missing = bucket.parameters;
  }
  std::ranges::fill(is_ready_, 0);
  next_ = 0;
}

std::int64_t GradientReducer::bytes_per_step() const {
  if (communicator_.size() == 1) return 0;
  std::int64_t elements = 0;
  for (const Bucket& bucket : buckets_) elements += bucket.dealt.numel() + bucket.rest.numel();
  return elements * static_cast<std::int64_t>(flat_gradients_.element_size());
}

}  // namespace dtrain::dist
