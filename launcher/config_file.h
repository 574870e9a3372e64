#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/parsers.hpp>
#include <istream>
#include <string>
#include <utility>
#include <vector>

namespace dtrain::launcher {

/// The options of an INI file, "KEY = VALUE" a line; those that `known` lacks are unregistered. A # begins a comment at
/// the start of a line and behind white space, so that a value may hold one ("c#.tsv"). Throws
/// boost::program_options::error for a line that is none.
boost::program_options::parsed_options read_config_file(std::istream& file,
                                                        const boost::program_options::options_description& known);

/// The line of such a file that gives the value back. Throws UsageError for a value that no line does.
std::string config_line(const std::string& option, const std::string& value);

/// Options and values of a file that was written so, in its order.
std::vector<std::pair<std::string, std::string>> config_entries(const std::string& ini);

}  // namespace dtrain::launcher
