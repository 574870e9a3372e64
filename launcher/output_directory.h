#pragma once

#include <functional>

#include "launcher/options.h"
#include "launcher/session.h"

namespace dtrain::launcher {

/// Makes --output ready on rank 0 and writes config.ini into it. A non-empty directory is refused without --resume or
/// --overwrite; --overwrite removes only what dtrain writes. Collective: a failure is an error on every rank.
/// Throws UsageError.
void prepare_output(const Options& options, const Session& session);

/// Runs `action` on rank 0; where it throws, every rank throws.
void on_first_rank(const Session& session, const std::function<void()>& action);

}  // namespace dtrain::launcher
