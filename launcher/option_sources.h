#pragma once

#include <string>
#include <vector>

#include "launcher/options.h"

namespace dtrain::launcher {

/// Fills `options`, which have the command's defaults, from the arguments behind the command's name, the environment
/// and the file of --config: the first of them that names an option decides. Throws as parse_options does.
void read_options(const CommandInfo& command, const std::vector<std::string>& arguments, Options& options);

/// Likewise where nothing is given in any of them: spells the defaults out (Options::resolved).
void read_defaults(const CommandInfo& command, Options& options);

}  // namespace dtrain::launcher
