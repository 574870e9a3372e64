#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "train/run_context.h"

namespace dtrain::train {

/// Runs `compute`, in which no rank waits for another. Collective: throws on every rank Stopped, where it threw that on
/// one of them, and OutOfMemoryError, where the memory of one ran out, so that none is waited for in vain.
void compute_apart(const RunContext& context, const std::function<void()>& compute);

/// What `make` makes of this rank's own, likewise.
template <typename Make>
auto made_apart(const RunContext& context, const Make& make) {
  std::optional<decltype(make())> made;
  compute_apart(context, [&] { made.emplace(make()); });
  return *std::move(made);
}

}  // namespace dtrain::train
