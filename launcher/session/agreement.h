#pragma once

#include <string>
#include <vector>

#include "dist/communicator.h"
#include "launcher/options.h"

namespace dtrain::launcher {

/// What each rank says, in the order of the ranks. Collective.
std::vector<std::string> gather_texts(dist::Communicator& control, const std::string& mine);

/// Throws UsageError, on every rank, where the ranks were started with different options. Collective.
void check_agreement(dist::Communicator& control, const Options& options);

/// "KEY = VALUE" of the lines of `mine` that `others` lacks, the first of them; "fewer options" where it lacks none.
std::string first_line_not_in(const std::string& others, const std::string& mine);

}  // namespace dtrain::launcher
