#pragma once

#include <functional>

#include "dist/communicator.h"

namespace dtrain::dist {

/// Runs `action` on rank 0, which alone writes files. Collective: where it throws an Error, every rank throws one of
/// the same kind and message.
void on_first_rank(Communicator& control, const std::function<void()>& action);

/// Runs `action` on the ranks where `acts` holds (one of each node, which reads for the others). Collective: where it
/// throws an Error on some of them, every rank throws that of the lowest, and names it in front where it is not 0.
void on_ranks(Communicator& control, bool acts, const std::function<void()>& action);

}  // namespace dtrain::dist
