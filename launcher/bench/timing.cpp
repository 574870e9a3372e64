#include "launcher/bench/timing.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <vector>

#include "base/seconds.h"

namespace dtrain::launcher {

std::string rate_text(double rate) { return rate >= 1000 ? fmt::format("{:.0f}", rate) : fmt::format("{:.4g}", rate); }

Timing time_of(const Session& session, double seconds, const std::function<void()>& action, std::int64_t multiple) {
  const auto once = [&] {
    const auto begin = std::chrono::steady_clock::now();
    action();
    return seconds_since(begin);
  };
  double last = 0;
  for (std::int64_t i = 0; i < kWarmUpRepeats; ++i) last = once();
  const auto wanted = std::clamp<std::int64_t>(static_cast<std::int64_t>(seconds / last), 5, 200);
  const auto repeats = at::tensor({(wanted + multiple - 1) / multiple * multiple}, at::kLong);
  session.control().broadcast(repeats, 0);
  std::vector<double> times;
  for (std::int64_t i = 0; i < repeats.item<std::int64_t>(); ++i) times.push_back(once());
  std::sort(times.begin(), times.end());
  const auto count = static_cast<std::int64_t>(times.size());
  return {times.front(), times[times.size() / 2], times.back(),
          std::accumulate(times.begin(), times.end(), 0.0) / static_cast<double>(count), count};
}

}  // namespace dtrain::launcher
