#pragma once

#include <string>

#include "base/log.h"

namespace dtrain::launcher {

/// Lines to standard output, warnings and progress to standard error, for rank 0; nothing for the others. Progress
/// overwrites itself on a terminal, else it is a line every few seconds.
Log terminal_log(int rank);

/// "dtrain: error: ..." on standard error.
void print_error(const std::string& message);

/// "dtrain: ..." on standard error: an end that is none in error.
void print_notice(const std::string& message);

}  // namespace dtrain::launcher
