#include "train/slow_rank.h"

#include <algorithm>

namespace dtrain::train {
namespace {

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

std::optional<SlowRankWatch::Found> SlowRankWatch::add(const std::vector<double>& seconds) {
  const std::size_t ranks = seconds.size();
  if (found_ || ranks < 2) return std::nullopt;
  window_.push_back(seconds);
  if (window_.size() < kWindow) return std::nullopt;
  std::vector<double> medians;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    std::vector<double> steps;
    for (const auto& step : window_) steps.push_back(step[rank]);
    medians.push_back(median(std::move(steps)));
  }
  window_.clear();
  const auto slowest = std::max_element(medians.begin(), medians.end());
  Found slow{static_cast<std::size_t>(slowest - medians.begin()), *slowest, 0};
  medians.erase(slowest);
  slow.others = median(std::move(medians));
  if (slow.seconds < kFactor * slow.others || slow.seconds < slow.others + kLeastSeconds) return std::nullopt;
  found_ = true;
  return slow;
}

}  // namespace dtrain::train
