#include "train/metrics.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "base/error.h"
#include "base/json_file.h"
#include "base/log.h"
#include "base/nearest_name.h"
#include "base/table.h"
#include "train/objective.h"

namespace dtrain::train {

double Metrics::value(const std::string& name) const {
  std::vector<std::string> names;
  for (const auto& [known, number] : values) {
    if (known == name) return number;
    names.push_back(known);
  }
  throw UsageError(
      fmt::format("unknown metric '{}'{}; there are: {}", name, did_you_mean(name, names), fmt::join(names, ", ")));
}

nlohmann::json metrics_json(const Metrics& metrics) {
  nlohmann::json json = {{"examples", metrics.examples}};
  for (const auto& [name, value] : metrics.values) json[name] = number_or_null(value);
  return json;
}

std::string metrics_table(const std::vector<std::pair<std::string, Metrics>>& metrics) {
  Table table{{"", "examples"}, {}};
  if (!metrics.empty()) {
    for (const auto& [name, value] : metrics[0].second.values) table.header.push_back(metric_kind(name).title);
  }
  for (const auto& [set, of_set] : metrics) {
    std::vector<std::string> row = {set, count_text(of_set.examples)};
    for (const auto& [name, value] : of_set.values)
      row.push_back(std::isnan(value) ? "-" : fmt::format("{:.4f}", value));
    table.rows.push_back(std::move(row));
  }
  return terminal_table(table);
}

LabelMetrics label_metrics(double hits, double predicted, double truth) {
  return {ratio(hits, predicted), ratio(hits, truth), ratio(2 * hits, truth + predicted),
          static_cast<std::int64_t>(truth)};
}

nlohmann::json label_metrics_json(const std::vector<LabelMetrics>& metrics, const std::vector<std::string>& labels) {
  nlohmann::json json = nlohmann::json::object();
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    json[labels[i]] = {{"precision", metrics[i].precision},
                       {"recall", metrics[i].recall},
                       {"f1", metrics[i].f1},
                       {"support", metrics[i].support}};
  }
  return json;
}

double ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }

}  // namespace dtrain::train
