#include "train/objective.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "base/error.h"
#include "base/nearest_name.h"
#include "train/objectives/multi_label.h"
#include "train/objectives/regression.h"
#include "train/objectives/single_label.h"

namespace dtrain::train {

double Objective::loss_divisor(const data::Targets&, const std::vector<std::int64_t>& batch, const Loss&) const {
  return static_cast<double>(batch.size());
}

Metrics Objective::untrained(const at::Tensor& targets, std::int64_t outputs) const {
  if (targets.size(0) == 0) return metrics(at::zeros({0, outputs}, at::kDouble), targets);
  return metrics(constant_logits(targets, outputs).expand({targets.size(0), outputs}), targets);
}

Metrics Objective::named(std::int64_t examples, const std::vector<double>& values) const {
  const auto& kinds = metric_kinds();
  if (kinds.size() != values.size()) throw std::logic_error("metrics and their names differ in number");
  Metrics metrics;
  metrics.examples = examples;
  for (std::size_t i = 0; i < kinds.size(); ++i) metrics.values.emplace_back(kinds[i].name, values[i]);
  return metrics;
}

void Objective::refuse_values(const std::string& metric) const {
  throw UsageError(fmt::format("{}: examples have no values of '{}'; there are: {}", problem_type_name(type()), metric,
                               fmt::join(mean_metrics(), ", ")));
}

Loss Objective::weighted_loss(std::vector<double> weights, std::int64_t outputs, at::Device device) {
  if (weights.empty()) return {};
  if (static_cast<std::int64_t>(weights.size()) != outputs) {
    throw UsageError(
        fmt::format("--class-weights: {} weights; expected {}, one for each class or label", weights.size(), outputs));
  }
  for (const double weight : weights) {
    if (!(std::isfinite(weight) && weight >= 0))
      throw UsageError(fmt::format("--class-weights: expected finite numbers from 0, found {}", weight));
  }
  Loss loss;
  loss.weights = std::move(weights);
  loss.device_weights = at::tensor(loss.weights, at::kDouble).to(device);
  return loss;
}

std::string loss_text(const LossOptions& options) {
  return fmt::format("class weights {}, label smoothing {}",
                     options.balanced                ? std::string("balanced")
                     : options.class_weights.empty() ? std::string("none")
                                                     : fmt::format("{}", fmt::join(options.class_weights, " ")),
                     options.label_smoothing);
}

const std::vector<const Objective*>& objectives() {
  static const std::vector<const Objective*> all = {&single_label_objective(), &multi_label_objective(),
                                                    &regression_objective()};
  return all;
}

const Objective& objective_of(ProblemType type) {
  for (const Objective* objective : objectives()) {
    if (objective->type() == type) return *objective;
  }
  throw std::logic_error(fmt::format("no objective for {}", problem_type_name(type)));
}

std::vector<std::string> metric_names() {
  std::vector<std::string> names;
  for (const Objective* objective : objectives()) {
    for (const MetricKind& kind : objective->metric_kinds()) {
      if (std::find(names.begin(), names.end(), kind.name) == names.end()) names.push_back(kind.name);
    }
  }
  return names;
}

const MetricKind& metric_kind(const std::string& name) {
  for (const Objective* objective : objectives()) {
    for (const MetricKind& kind : objective->metric_kinds()) {
      if (kind.name == name) return kind;
    }
  }
  throw UsageError(fmt::format("unknown metric '{}'{}; there are: {}", name, did_you_mean(name, metric_names()),
                               fmt::join(metric_names(), ", ")));
}

bool larger_is_better(const std::string& metric) { return metric_kind(metric).larger_is_better; }

double merit(const std::string& metric, double value) { return larger_is_better(metric) ? value : -value; }

std::string headline_text(const Objective& objective, const Metrics& metrics) {
  std::vector<std::string> parts;
  for (const std::string& name : objective.headline_metrics())
    parts.push_back(fmt::format("{} {:.4f}", metric_kind(name).title, metrics.value(name)));
  return fmt::format("{}", fmt::join(parts, "  "));
}

std::string one_line(std::string field) {
  std::replace_if(
      field.begin(), field.end(), [](char byte) { return byte == '\t' || byte == '\n' || byte == '\r'; }, ' ');
  return field;
}

}  // namespace dtrain::train
