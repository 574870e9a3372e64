#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace dtrain::train {

/// A metric and how it is read.
struct MetricKind {
  /// In results.json and for --select-metric: "macro_f1".
  std::string name;
  /// In tables: "macro-F1".
  std::string title;
  bool larger_is_better = true;
  /// From 0 to 1, and shown in percent where room is short.
  bool is_share = true;
};

/// The metrics of one evaluation: all that its objective has, in its order (Objective::metric_kinds).
struct Metrics {
  std::int64_t examples = 0;
  /// By name; NaN where one is not defined (the correlation with what is constant).
  std::vector<std::pair<std::string, double>> values;

  /// Throws UsageError listing the names for another.
  double value(const std::string& name) const;
};

/// The number of examples and every metric by its name; null for what is not defined.
nlohmann::json metrics_json(const Metrics& metrics);

/// A table for a terminal, a row for each of the sets, which are of one objective.
std::string metrics_table(const std::vector<std::pair<std::string, Metrics>>& metrics);

/// Of one class or label, from how often it is right, predicted, and true.
struct LabelMetrics {
  double precision = 0;
  double recall = 0;
  double f1 = 0;
  std::int64_t support = 0;
};
LabelMetrics label_metrics(double hits, double predicted, double truth);
/// By name: `labels` and `metrics` are in one order.
nlohmann::json label_metrics_json(const std::vector<LabelMetrics>& metrics, const std::vector<std::string>& labels);

/// part / whole, and 0 where there is no whole.
double ratio(double part, double whole);

}  // namespace dtrain::train
