#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/table.h"
#include "launcher/attach_context.h"
#include "launcher/commands.h"
#include "launcher/loading.h"
#include "model/formats/classifier_files.h"
#include "peft/registry.h"

namespace dtrain::launcher {
namespace {

const char* format_name(const peft::Method& method, const model::Classifier& classifier) {
  if (method.changes_whole_model()) return "model";
  switch (method.format(classifier)) {
    case peft::AdapterFormat::peft:
      return "PEFT";
    case peft::AdapterFormat::adapter_hub:
      return "adapter-hub";
    case peft::AdapterFormat::plain:
      break;
  }
  return "plain";
}

// What the column "merges" says.
const char* merge_text(const peft::Method& method) {
  if (method.changes_whole_model()) return "whole";
  return method.cannot_merge() ? "no" : "yes";
}

// `problems` gets a line where the model cannot have the method.
std::vector<std::string> row_of(const peft::MethodKind& kind, const Options& options,
                                std::vector<std::string>& problems) {
  const auto classifier =
      model::load_classifier({.directory = model_directory(options), .pooling = pooling_option(options), .classes = 2});
  const auto method = peft::make_method({kind.name, {}});
  try {
    method->attach(*classifier, attach_context(0));
  } catch (const UsageError& error) {
    problems.push_back(fmt::format("{} is impossible: {}", kind.name, error.what()));
    return {kind.name, "impossible", "", "", "", kind.paper};
  }
  // What trains in the end.
  for (std::size_t phase = 1; phase < method->phases(*classifier).size(); ++phase) {
    method->enter_phase(*classifier, static_cast<int>(phase));
  }
  std::int64_t all = 0;
  std::int64_t trainable = 0;
  for (const auto* parameter : classifier->parameters()) {
    all += parameter->value().numel();
    if (parameter->trainable()) trainable += parameter->value().numel();
  }
  return {kind.name,
          count_text(trainable),
          fmt::format("{:.3f} %", 100.0 * static_cast<double>(trainable) / static_cast<double>(all)),
          merge_text(*method),
          format_name(*method, *classifier),
          kind.paper};
}

void list_methods(const Options& options, const Log& log) {
  std::vector<std::string> families;
  for (const auto& kind : peft::method_kinds()) {
    if (std::find(families.begin(), families.end(), kind.family) == families.end()) families.push_back(kind.family);
  }
  for (const std::string& family : families) {
    Table table{{family, "trains", "share", "merges", "saved as", "paper"}, {}};
    std::vector<std::string> problems;
    for (const auto& kind : peft::method_kinds()) {
      if (kind.family == family) table.rows.push_back(row_of(kind, options, problems));
    }
    log.line(terminal_table(table));
    if (!problems.empty()) log.line(fmt::format("{}\n", fmt::join(problems, "\n")));
  }
  log.line(fmt::format("On {}, with a classifier of two classes. dtrain methods NAME lists a method's settings.",
                       model_directory(options).string()));
}

// What --method takes after a method's name.
void describe_method(const peft::MethodKind& kind, const Log& log) {
  log.line(fmt::format("{}: {}{}{}", kind.name, kind.summary, kind.paper.empty() ? "" : "; ", kind.paper));
  log.line(fmt::format("learning rates that compare searches: {} (train takes the middle one)",
                       fmt::join(kind.learning_rates, ", ")));
  std::size_t width = 0;
  for (const auto& setting : kind.settings) width = std::max(width, setting.key.size() + setting.default_value.size());
  for (const auto& setting : kind.settings) {
    log.line(fmt::format("  {}  {}", fmt::format("{:<{}}", setting.key + "=" + setting.default_value, width + 1),
                         setting.help));
  }
  if (kind.settings.empty()) log.line("  it has no settings");
}

}  // namespace

void run_methods(const Options& options, const Session& session) {
  if (options.targets.empty()) list_methods(options, session.log());
  for (const std::string& name : options.targets) describe_method(peft::method_kind(name), session.log());
}

}  // namespace dtrain::launcher
