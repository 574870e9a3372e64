#pragma once

#include <chrono>
#include <functional>

namespace dtrain::dist {

/// Calls `ended` until it returns true, and returns true, or until `timeout` has passed, and returns false. Spins at
/// first, where most collectives end, then yields and sleeps, so that a rank that waits leaves its core to one that
/// computes.
bool ends_within(std::chrono::milliseconds timeout, const std::function<bool()>& ended);

}  // namespace dtrain::dist
