#include "dist/gradient_reducer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace dtrain::dist {

// What one collective carries.
struct GradientReducer::Message {
  at::Tensor gradients;  // a view into the flat ones
  at::Tensor on_wire;    // the same tensor, or in another type a copy
  ReducedTo reduced_to;
  std::unique_ptr<Work> work = nullptr;  // none while not started

  void start(Communicator& communicator) {
    if (!on_wire.is_same(gradients)) on_wire.copy_(gradients);
    work = reduced_to == ReducedTo::shares ? communicator.start_reduce_scatter(on_wire)
                                           : communicator.start_all_reduce(on_wire);
  }

  void finish(const Communicator& communicator) {
    if (!work) return;
    // Not join_stream: the host reads the norm of these gradients next, and no timeout would end that for a lost rank.
    work->wait();
    work.reset();
    if (on_wire.is_same(gradients)) return;
    const std::int64_t count = gradients.numel() / (reduced_to == ReducedTo::shares ? communicator.size() : 1);
    const std::int64_t begin = reduced_to == ReducedTo::shares ? communicator.rank() * count : 0;
    gradients.narrow(0, begin, count).copy_(on_wire.narrow(0, begin, count));
  }
};

struct GradientReducer::Bucket {
  std::vector<Message> messages = {};
  std::size_t parameters = 0;  // that reach into it
  std::size_t missing = 0;     // how many of these are not ready
};

GradientReducer::GradientReducer(Communicator& communicator, at::Tensor flat_gradients,
                                 std::vector<std::int64_t> offsets, const ShardLayout& layout, ReducedTo reduced_to,
                                 bool overlap, WireFormat format)
    : communicator_(communicator), flat_gradients_(std::move(flat_gradients)), overlap_(overlap) {
  if (flat_gradients_.dim() != 1 || !flat_gradients_.is_contiguous() || offsets.empty() || offsets.front() != 0 ||
      offsets.back() != flat_gradients_.numel()) {
    throw std::logic_error(
        fmt::format("gradient reducer: expected flat gradients and offsets from 0 to their length, "
                    "found {} elements and {} offsets that end at {}",
                    flat_gradients_.numel(), offsets.size(), offsets.empty() ? 0 : offsets.back()));
  }
  for (const ShardLayout::Bucket& cut : layout.buckets()) {
    Bucket& bucket = buckets_.emplace_back();
    if (reduced_to == ReducedTo::shares) {
      add_message(bucket, cut.dealt, ReducedTo::shares, format);
      add_message(bucket, cut.rest, ReducedTo::every_rank, format);
    } else {
      add_message(bucket, cut.whole(), ReducedTo::every_rank, format);
    }
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

void GradientReducer::add_message(Bucket& bucket, const Stretch& stretch, ReducedTo reduced_to, WireFormat format) {
  if (stretch.size() == 0 || communicator_.size() == 1) return;
  const auto gradients = flat_gradients_.narrow(0, stretch.begin, stretch.size());
  const at::ScalarType type = wire_type(format, gradients.scalar_type());
  const auto on_wire =
      type == gradients.scalar_type() ? gradients : at::empty_like(gradients, gradients.options().dtype(type));
  bucket.messages.push_back({gradients, on_wire, reduced_to});
}

void GradientReducer::ready(std::size_t index) {
  char& is_ready = is_ready_.at(index);
  if (is_ready)
    throw std::logic_error(fmt::format("gradient {} was ready twice in one step; call finish() once a step", index));
  is_ready = 1;
  for (std::size_t b = buckets_of_[index].first; b < buckets_of_[index].second; ++b) --buckets_[b].missing;
  if (!overlap_ || communicator_.size() == 1) return;
  start_in_order();
  for (std::size_t b = 0; b < next_; ++b) {
    for (const Message& message : buckets_[b].messages) message.work->test();
  }
}

void GradientReducer::start_in_order() {
  for (; next_ < buckets_.size() && buckets_[next_].missing == 0; ++next_) {
    for (Message& message : buckets_[next_].messages) message.start(communicator_);
  }
}

void GradientReducer::finish() {
  for (Bucket& bucket : buckets_) bucket.missing = 0;
  if (communicator_.size() > 1) start_in_order();
  for (Bucket& bucket : buckets_) {
    for (Message& message : bucket.messages) message.finish(communicator_);
    bucket.missing = bucket.parameters;
  }
  std::ranges::fill(is_ready_, 0);
  next_ = 0;
}

std::int64_t GradientReducer::bytes_per_step() const {
  std::size_t bytes = 0;
  for (const Bucket& bucket : buckets_) {
    for (const Message& message : bucket.messages) bytes += message.on_wire.nbytes();
  }
  return static_cast<std::int64_t>(bytes);
}

}  // namespace dtrain::dist
