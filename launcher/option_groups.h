#pragma once

#include <boost/program_options/options_description.hpp>
#include <map>
#include <string>

#include "launcher/options.h"

namespace dtrain::launcher {

/// The options of a command in the groups that --help shows, bound to the fields of `options`, whose values are the
/// defaults.
boost::program_options::options_description describe_options(const CommandInfo& command, Options& options);

/// The groups of options that each kind of bench uses.
const std::map<std::string, std::string>& bench_groups();

/// What a value of the option must be: "a number", "a whole number", "true or false"; "" for text.
std::string expected_value(const boost::program_options::option_description& option);

/// Whether its value is the name of a file or a folder, or may be one, which need not be UTF-8.
bool names_files(const boost::program_options::option_description& option);

/// Whether it is given by its name alone, and off where it is not.
bool is_switch(const boost::program_options::option_description& option);

}  // namespace dtrain::launcher
