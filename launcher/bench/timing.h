#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "launcher/session/session.h"

namespace dtrain::launcher {

/// Of the repeats of an action.
struct Timing {
  double least = 0;
  double median = 0;
  double most = 0;
  double mean = 0;
  std::int64_t repeats = 0;
};

/// Repeats that are not timed, before those that are.
constexpr std::int64_t kWarmUpRepeats = 2;

/// "98.31", "172.8", "22390": four digits, of large numbers all.
std::string rate_text(double rate);

/// Warms up, then repeats an action for about `seconds`, as often on every rank and a multiple of `multiple` times.
/// Collective.
Timing time_of(const Session& session, double seconds, const std::function<void()>& action, std::int64_t multiple = 1);

}  // namespace dtrain::launcher
