#include "launcher/shown_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options/options_description.hpp>
#include <set>
#include <string_view>

#include "launcher/config_file.h"
#include "launcher/option_groups.h"

namespace dtrain::launcher {
namespace {

constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%";

// Model, reading of the data, steps, loss and what is rounded. The test holds this to the options that both commands
// have.
const std::set<std::string, std::less<>> kOfTraining = {
    "model",        "pooling",       "text-column",   "pair-column",         "label-column",    "header",
    "separator",    "max-length",    "ignore-label",  "drop-unknown-labels", "label-separator", "problem-type",
    "epochs",       "min-steps",     "max-steps",     "batch-size",          "weight-decay",    "max-grad-norm",
    "warmup-ratio", "select-metric", "class-weights", "label-smoothing",     "precision",       "reduce-precision"};

}  // namespace

std::string shell_word(const std::string& text) {
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string word = "'";
  for (const char byte : text) word += byte == '\'' ? std::string("'\\''") : std::string(1, byte);
  return word + "'";
}

std::string training_options_of(const Options& study) {
  const auto usual = config_entries(default_options("train"));
  const auto train = std::find_if(commands().begin(), commands().end(),
                                  [](const CommandInfo& command) { return command.name == "train"; });
  Options ignored;
  const auto described = describe_options(*train, ignored);
  std::string text;
  for (const auto& entry : config_entries(study.resolved)) {
    const auto& [name, value] = entry;
    const bool is_usual = std::find(usual.begin(), usual.end(), entry) != usual.end();
    if (is_usual || kOfTraining.count(name) == 0) continue;
    text += " --" + name;
    if (!is_switch(described.find(name, false))) text += " " + shell_word(value);
  }
  return text;
}

}  // namespace dtrain::launcher
