#include "train/metrics.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/nearest_name.h"

namespace dtrain::train {
namespace {

struct NamedMetric {
  const char* name;
  double Metrics::*value;
  bool larger_is_better;
};
constexpr std::array<NamedMetric, 7> kMetrics = {{{"accuracy", &Metrics::accuracy, true},
                                                  {"balanced_accuracy", &Metrics::balanced_accuracy, true},
                                                  {"macro_f1", &Metrics::macro_f1, true},
                                                  {"weighted_f1", &Metrics::weighted_f1, true},
                                                  {"matthews", &Metrics::matthews, true},
                                                  {"log_loss", &Metrics::log_loss, false},
                                                  {"calibration_error", &Metrics::calibration_error, false}}};

const NamedMetric& named_metric(const std::string& name) {
  for (const NamedMetric& metric : kMetrics) {
    if (name == metric.name) return metric;
  }
  throw UsageError(fmt::format("unknown metric '{}'{}; there are: {}", name, did_you_mean(name, metric_names()),
                               fmt::join(metric_names(), ", ")));
}

double ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }

// From the confusion matrix: everything that needs no probabilities.
void add_counts(Metrics& metrics) {
  const std::size_t classes = metrics.confusion.size();
  std::vector<double> truth(classes, 0);
  std::vector<double> predicted(classes, 0);
  double correct = 0;
  for (std::size_t row = 0; row < classes; ++row) {
    for (std::size_t column = 0; column < classes; ++column) {
      truth[row] += static_cast<double>(metrics.confusion[row][column]);
      predicted[column] += static_cast<double>(metrics.confusion[row][column]);
    }
    correct += static_cast<double>(metrics.confusion[row][row]);
  }
  const auto total = static_cast<double>(metrics.examples);
  metrics.accuracy = ratio(correct, total);
  double recalls = 0, f1s = 0, weighted = 0, occurring = 0, seen = 0, chance = 0, truth_squares = 0,
         predicted_squares = 0;
  for (std::size_t c = 0; c < classes; ++c) {
    const auto hits = static_cast<double>(metrics.confusion[c][c]);
    const Metrics::PerClass per_class{ratio(hits, predicted[c]), ratio(hits, truth[c]),
                                      ratio(2 * hits, truth[c] + predicted[c]), static_cast<std::int64_t>(truth[c])};
    metrics.classes.push_back(per_class);
    if (truth[c] > 0) {
      recalls += per_class.recall;
      ++occurring;
    }
    if (truth[c] + predicted[c] > 0) {
      f1s += per_class.f1;
      ++seen;
    }
    weighted += per_class.f1 * truth[c];
    chance += truth[c] * predicted[c];
    truth_squares += truth[c] * truth[c];
    predicted_squares += predicted[c] * predicted[c];
  }
  metrics.balanced_accuracy = ratio(recalls, occurring);
  metrics.macro_f1 = ratio(f1s, seen);
  metrics.weighted_f1 = ratio(weighted, total);
  const double spread = (total * total - truth_squares) * (total * total - predicted_squares);
  metrics.matthews = spread > 0 ? (correct * total - chance) / std::sqrt(spread) : 0;
}

}  // namespace

double Metrics::value(const std::string& name) const { return this->*named_metric(name).value; }

const std::vector<std::string>& metric_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const NamedMetric& metric : kMetrics) all.emplace_back(metric.name);
    return all;
  }();
  return names;
}

bool larger_is_better(const std::string& metric) { return named_metric(metric).larger_is_better; }

Metrics compute_metrics(const at::Tensor& logits, const at::Tensor& labels) {
  constexpr int kBins = 15;
  Metrics metrics;
  const auto log_probabilities = at::log_softmax(logits.to(at::kDouble), 1).contiguous();
  const auto classes = static_cast<std::size_t>(logits.size(1));
  const double* rows = log_probabilities.const_data_ptr<double>();
  const auto plain_labels = labels.contiguous();
  const auto* truth = plain_labels.const_data_ptr<std::int64_t>();
  metrics.examples = logits.size(0);
  metrics.confusion.assign(classes, std::vector<std::int64_t>(classes, 0));
  std::array<double, kBins> confidence{};
  std::array<double, kBins> correct{};
  for (std::size_t i = 0; i < static_cast<std::size_t>(metrics.examples); ++i) {
    const double* row = rows + i * classes;
    const auto predicted = static_cast<std::size_t>(std::max_element(row, row + classes) - row);
    const auto label = static_cast<std::size_t>(truth[i]);
    ++metrics.confusion[label][predicted];
    metrics.log_loss -= row[label];
    const double probability = std::exp(row[predicted]);
    // Bins (0, 1/15], (1/15, 2/15], ...
    const int bin = std::clamp(static_cast<int>(std::ceil(probability * kBins)) - 1, 0, kBins - 1);
    confidence[static_cast<std::size_t>(bin)] += probability;
    correct[static_cast<std::size_t>(bin)] += predicted == label ? 1 : 0;
  }
  const auto total = static_cast<double>(metrics.examples);
  metrics.log_loss = ratio(metrics.log_loss, total);
  for (std::size_t bin = 0; bin < kBins; ++bin)
    metrics.calibration_error += ratio(std::abs(confidence[bin] - correct[bin]), total);
  add_counts(metrics);
  return metrics;
}

nlohmann::json metrics_json(const Metrics& metrics, const std::vector<std::string>& labels, bool details) {
  nlohmann::json json;
  json["examples"] = metrics.examples;
  for (const NamedMetric& metric : kMetrics) json[metric.name] = metrics.*metric.value;
  if (!details) return json;
  json["classes"] = nlohmann::json::object();
  for (std::size_t c = 0; c < metrics.classes.size(); ++c) {
    const auto& per_class = metrics.classes[c];
    json["classes"][labels[c]] = {{"precision", per_class.precision},
                                  {"recall", per_class.recall},
                                  {"f1", per_class.f1},
                                  {"support", per_class.support}};
  }
  json["confusion"] = metrics.confusion;
  return json;
}

}  // namespace dtrain::train
