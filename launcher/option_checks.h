#pragma once

#include <string>

#include "launcher/options.h"

namespace dtrain::launcher {

/// Throws UsageError for a value that is not UTF-8: results and checkpoints keep it as JSON.
void check_is_text(const std::string& option, const std::string& value);

/// Checks every value and fills what follows from several (the training options' method, rate and steps). Throws
/// UsageError that begins with the option's name: "--lr: expected a number above 0, found '0'".
void check_options(Options& options);

}  // namespace dtrain::launcher
