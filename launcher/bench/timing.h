#pragma once

#include <functional>
#include <string>

#include "launcher/session/session.h"

namespace dtrain::launcher {

/// Of the repeats of an action.
struct Timing {
  double least = 0;
  double median = 0;
  double most = 0;
};

/// "98.31", "172.8", "22390": four digits, of large numbers all.
std::string rate_text(double rate);

/// Warms up, then repeats an action for about `seconds`, as often on every rank. Collective.
Timing time_of(const Session& session, double seconds, const std::function<void()>& action);

}  // namespace dtrain::launcher
