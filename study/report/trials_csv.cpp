#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "study/report/report.h"

namespace dtrain::study {
namespace {

// Quoted where it must be: a separator, a quote or a line end in it.
std::string field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char character : text) {
    if (character == '"') quoted += '"';
    quoted += character;
  }
  return quoted + "\"";
}

// As many digits as it takes to read the same number again; empty for none.
std::string number_or_nothing(double value) { return std::isfinite(value) ? fmt::format("{}", value) : ""; }

std::string line_of(const std::vector<std::string>& fields) {
  std::string line;
  for (const std::string& text : fields) line += (line.empty() ? "" : ",") + field(text);
  return line + "\r\n";
}

// What trials measured, by column: every "set.metric", then every "forgetting.measure".
std::set<std::string> measured_columns(const Report& report, bool forgetting) {
  std::set<std::string> columns;
  for (const auto& [key, trial] : report.finished) {
    if (forgetting) {
      for (const auto& [name, value] : trial.second.forgetting) columns.insert(name);
      continue;
    }
    for (const auto& [set, metrics] : trial.second.metrics) {
      for (const auto& [name, value] : metrics) columns.insert(set + "." + name);
    }
  }
  return columns;
}

}  // namespace

std::string trials_csv(const Report& report) {
  std::vector<std::string> header = {"phase",
                                     "method",
                                     "samples",
                                     "learning_rate",
                                     "length",
                                     "seed",
                                     "subset_seed",
                                     "failure",
                                     "steps",
                                     "stopped_early",
                                     "best_step",
                                     "ranks",
                                     "group",
                                     "started_seconds",
                                     "seconds",
                                     "train_seconds",
                                     "samples_per_second",
                                     "tokens_per_second",
                                     "flop",
                                     "matmul_rate_share",
                                     "energy_joules",
                                     "peak_memory_bytes",
                                     "peak_memory_above_base_bytes",
                                     "trainable_parameters",
                                     "allreduce_bytes_per_step",
                                     "stored_bytes"};
  const auto any = [&](const auto& has) {
    return std::any_of(report.finished.begin(), report.finished.end(),
                       [&](const auto& finished) { return has(finished.second.second.cost); });
  };
  const bool has_energy = any([](const train::Cost& cost) { return !cost.energy_of.empty(); });
  if (has_energy) header.push_back("energy_of");
  const bool has_gpu = any([](const train::Cost& cost) { return cost.peak_host_memory_bytes.has_value(); });
  if (has_gpu) header.push_back("peak_host_memory_bytes");
  const auto metrics = measured_columns(report, false);
  const auto measures = measured_columns(report, true);
  header.insert(header.end(), metrics.begin(), metrics.end());
  for (const std::string& measure : measures) header.push_back("forgetting." + measure);
  std::string text = line_of(header);
  for (const auto& [key, finished] : report.finished) {
    const auto& [trial, outcome] = finished;
    const auto& cost = outcome.cost;
    const auto& above_base = cost.peak_memory_above_base_bytes;
    std::vector<std::string> fields = {trial.phase == Trial::Phase::search ? "search" : "result",
                                       trial.method,
                                       std::to_string(trial.samples),
                                       number_or_nothing(trial.learning_rate),
                                       number_or_nothing(trial.length),
                                       std::to_string(trial.seed),
                                       std::to_string(report.plan.subset_seed_of(trial.seed)),
                                       outcome.failure,
                                       std::to_string(outcome.steps),
                                       outcome.stopped_early ? "true" : "false",
                                       std::to_string(outcome.best_step),
                                       std::to_string(outcome.ranks),
                                       std::to_string(outcome.group),
                                       number_or_nothing(outcome.started),
                                       number_or_nothing(outcome.seconds),
                                       number_or_nothing(cost.train_seconds),
                                       number_or_nothing(cost.samples_per_second),
                                       number_or_nothing(cost.tokens_per_second),
                                       number_or_nothing(cost.flop),
                                       number_or_nothing(cost.matmul_rate_share),
                                       number_or_nothing(cost.energy_joules),
                                       std::to_string(cost.peak_memory_bytes),
                                       above_base ? std::to_string(*above_base) : "",
                                       std::to_string(cost.trainable_parameters),
                                       std::to_string(cost.allreduce_bytes_per_step),
                                       std::to_string(cost.stored_bytes)};
    if (has_energy) fields.push_back(cost.energy_of);
    if (has_gpu) {
      const auto& host = cost.peak_host_memory_bytes;
      fields.push_back(host ? std::to_string(*host) : "");
    }
    std::map<std::string, double> values;
    for (const auto& [set, by_name] : outcome.metrics) {
      for (const auto& [name, value] : by_name) values[set + "." + name] = value;
    }
    for (const std::string& column : metrics)
      fields.push_back(values.count(column) > 0 ? number_or_nothing(values[column]) : "");
    for (const std::string& measure : measures) {
      const auto found = outcome.forgetting.find(measure);
      fields.push_back(found == outcome.forgetting.end() ? "" : number_or_nothing(found->second));
    }
    text += line_of(fields);
  }
  return text;
}

}  // namespace dtrain::study
