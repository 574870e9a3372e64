#pragma once

#include <string>

#include "base/log.h"

namespace dtrain::launcher {

/// Lines to standard output, warnings and progress to standard error, for rank 0; nothing for the others. Progress
/// overwrites itself on a terminal, else it is a line every half minute.
Log terminal_log(int rank);

/// "dtrain: error: ..." on standard error.
void print_error(const std::string& message);

}  // namespace dtrain::launcher
