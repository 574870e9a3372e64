#pragma once

#include <functional>

#include "dist/communicator.h"

namespace dtrain::dist {

/// Runs `action` on rank 0, which alone writes files. Collective: where it throws an Error, every rank throws one of
/// the same exit code.
void on_first_rank(Communicator& control, const std::function<void()>& action);

}  // namespace dtrain::dist
