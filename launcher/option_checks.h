#pragma once

#include "launcher/options.h"

namespace dtrain::launcher {

/// Checks every value and fills what follows from several (the training options' method, rate and steps). Throws
/// UsageError that begins with the option's name: "--lr: expected a number above 0, found '0'".
void check_options(Options& options);

}  // namespace dtrain::launcher
