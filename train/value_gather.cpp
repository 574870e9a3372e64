#include "train/value_gather.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <chrono>
#include <exception>

#include "base/seconds.h"

namespace dtrain::train {

ValueGather::~ValueGather() {
  try {
    wait();
  } catch (const std::exception&) {
    // The communicator keeps it: its next call throws.
  }
}

void ValueGather::gather_rows(dist::Communicator& ranks, const at::Tensor& table, const std::vector<std::int64_t>& own,
                              const std::vector<std::int64_t>& all) {
  const at::NoGradGuard no_grad;
  const auto begin = std::chrono::steady_clock::now();
  const auto gathered = ranks.all_gather(table.index_select(0, at::tensor(own, at::kLong)));
  table.index_copy_(0, at::tensor(all, at::kLong), gathered);
  bytes_ += static_cast<std::int64_t>(gathered.nbytes());
  seconds_ += seconds_since(begin);
}

void ValueGather::start(dist::Communicator& ranks, const dist::ShardLayout& layout) {
  announced_from_ = parameters_.parameters.size();
  const auto& buckets = layout.buckets();
  for (auto bucket = buckets.rbegin(); bucket != buckets.rend(); ++bucket) {
    if (bucket->dealt.size() == 0) continue;
    const auto values = parameters_.values.narrow(0, bucket->dealt.begin, bucket->dealt.size());
    under_way_.push_back({bucket->dealt.end, ranks.start_all_gather(values)});
    bytes_ += static_cast<std::int64_t>(values.nbytes());
  }
  announce();
}

void ValueGather::join(std::size_t index) {
  if (joined_ == under_way_.size()) return;
  const std::int64_t place = parameters_.offsets[index];
  if (here_from() <= place) {
    under_way_[joined_].work->test();  // MPI moves collectives only inside of its calls
    return;
  }
  const auto begin = std::chrono::steady_clock::now();
  while (here_from() > place) {
    under_way_[joined_].work->join_stream();
    ++joined_;
  }
  seconds_ += seconds_since(begin);
  announce();
}

void ValueGather::wait() {
  if (under_way_.empty()) return;
  const auto begin = std::chrono::steady_clock::now();
  for (const UnderWay& each : under_way_) each.work->wait();
  seconds_ += seconds_since(begin);
  joined_ = under_way_.size();
  announce();
  under_way_.clear();
  joined_ = 0;
}

void ValueGather::announce() {
  std::vector<model::Parameter*> changed;
  while (announced_from_ > 0 && parameters_.offsets[announced_from_ - 1] >= here_from())
    changed.push_back(parameters_.parameters[--announced_from_]);
  model::Parameter::values_changed(changed);
}

}  // namespace dtrain::train
