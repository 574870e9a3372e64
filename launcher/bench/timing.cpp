#include "launcher/bench/timing.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/seconds.h"

namespace dtrain::launcher {

std::string rate_text(double rate) { return rate >= 1000 ? fmt::format("{:.0f}", rate) : fmt::format("{:.4g}", rate); }

Timing time_of(const Session& session, double seconds, const std::function<void()>& action) {
  const auto once = [&] {
    const auto begin = std::chrono::steady_clock::now();
    action();
    return seconds_since(begin);
  };
  once();
  const double first = once();
  const auto repeats =
      at::tensor({std::clamp<std::int64_t>(static_cast<std::int64_t>(seconds / first), 5, 200)}, at::kLong);
  session.control().broadcast(repeats, 0);
  std::vector<double> times;
  for (std::int64_t i = 0; i < repeats.item<std::int64_t>(); ++i) times.push_back(once());
  std::sort(times.begin(), times.end());
  return {times.front(), times[times.size() / 2], times.back()};
}

}  // namespace dtrain::launcher
