#include "launcher/config_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <string_view>

#include "base/error.h"

namespace dtrain::launcher {
namespace {

namespace po = boost::program_options;

constexpr std::string_view kBlanks = " \t\r\n\f\v";
// Stands for a # of a value while Boost reads, to which each is a comment.
constexpr char kSubstitute = '\x1a';

bool is_blank(char byte) { return kBlanks.find(byte) != std::string_view::npos; }

// Where a comment begins; npos: nowhere.
std::size_t comment_of(std::string_view line) {
  std::size_t at = line.find('#');
  while (at != std::string_view::npos && at > 0 && !is_blank(line[at - 1])) at = line.find('#', at + 1);
  return at;
}

}  // namespace

po::parsed_options read_config_file(std::istream& file, const po::options_description& known) {
  std::stringstream lines;
  for (std::string line; std::getline(file, line);) {
    line.resize(std::min(comment_of(line), line.size()));
    std::replace(line.begin(), line.end(), '#', kSubstitute);
    lines << line << '\n';
  }
  po::parsed_options parsed = po::parse_config_file(lines, known, true);
  for (auto& option : parsed.options) {
    for (auto& value : option.value) std::replace(value.begin(), value.end(), kSubstitute, '#');
  }
  return parsed;
}

std::string config_line(const std::string& option, const std::string& value) {
  const bool is_trimmed = value.empty() || (!is_blank(value.front()) && !is_blank(value.back()));
  if (!is_trimmed || value.find_first_of("\n\r") != std::string::npos || comment_of(value) != std::string::npos) {
    throw UsageError(fmt::format(
        "--{}: config.ini could not give this value back: expected one line without white space at its ends "
        "or before a #, and without a # at its beginning, found '{}'",
        option, value));
  }
  return fmt::format("{} = {}\n", option, value);
}

std::vector<std::pair<std::string, std::string>> config_entries(const std::string& ini) {
  std::vector<std::pair<std::string, std::string>> entries;
  std::istringstream stream(ini);
  for (std::string line; std::getline(stream, line);) {
    const std::size_t equals = line.find(" = ");
    if (line.starts_with('#') || equals == std::string::npos) continue;
    entries.emplace_back(line.substr(0, equals), line.substr(equals + 3));
  }
  return entries;
}

}  // namespace dtrain::launcher
