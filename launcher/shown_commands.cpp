#include "launcher/shown_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <string_view>

namespace dtrain::launcher {
namespace {

constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%";

// Model, reading of the data, steps and loss.
const std::set<std::string, std::less<>> kOfTraining = {
    "model",        "pooling",       "text-column",   "pair-column",         "label-column",    "header",
    "separator",    "max-length",    "ignore-label",  "drop-unknown-labels", "label-separator", "problem-type",
    "epochs",       "min-steps",     "max-steps",     "batch-size",          "weight-decay",    "max-grad-norm",
    "warmup-ratio", "select-metric", "class-weights", "label-smoothing"};

}  // namespace

std::string shell_word(const std::string& text) {
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string word = "'";
  for (const char byte : text) word += byte == '\'' ? std::string("'\\''") : std::string(1, byte);
  return word + "'";
}

std::string training_options_of(const Options& study) {
  // The lines of config.ini.
  const auto lines_of = [](const std::string& ini) {
    std::vector<std::string> lines;
    std::istringstream stream(ini);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  };
  const auto usual = lines_of(default_options("train"));
  std::string text;
  for (const std::string& line : lines_of(study.resolved)) {
    const std::size_t equals = line.find(" = ");
    if (equals == std::string::npos || std::find(usual.begin(), usual.end(), line) != usual.end()) continue;
    const std::string name = line.substr(0, equals);
    const std::string value = line.substr(equals + 3);
    if (kOfTraining.count(name) == 0 || value == "false") continue;
    text += " --" + name;
    if (value != "true") text += " " + shell_word(value);
  }
  return text;
}

}  // namespace dtrain::launcher
