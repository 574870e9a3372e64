#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/problem_type.h"
#include "data/targets.h"
#include "train/metrics.h"

namespace dtrain::train {

/// What the user adds to the plain loss of an objective.
struct LossOptions {
  /// Of each class or label, in the model's order; empty: all alike.
  std::vector<double> class_weights;
  /// The weights follow from the training examples instead, each class or label counting as much as every other.
  bool balanced = false;
  /// The share of each target that goes to all classes alike.
  double label_smoothing = 0;
};

/// The options as a text that differs where they do.
std::string loss_text(const LossOptions& options);

/// The loss of a run: its options in numbers.
struct Loss {
  std::vector<double> weights;  // empty: none
  at::Tensor device_weights;    // the same, double, on the run's device
  double label_smoothing = 0;
};

/// Text of a table, fields apart by tabs: its header, and a row for each example.
struct OutputColumns {
  std::string header;
  std::vector<std::string> rows;
};

/// What a task asks of a model. One for each problem type, without state; `logits` are [examples, outputs] of any
/// floating type, `targets` as Examples::collate_targets gives them. Metrics are computed in double, on the CPU.
class Objective {
 public:
  virtual ~Objective() = default;
  virtual ProblemType type() const = 0;

  /// Every metric, in the order of tables.
  virtual const std::vector<MetricKind>& metric_kinds() const = 0;
  /// What chooses steps and learning rates unless the user does.
  virtual std::string select_metric() const = 0;
  /// The metric that is the mean of example_scores: a share, larger is better.
  virtual std::string score_metric() const = 0;
  /// The few that a progress line has room for.
  virtual std::vector<std::string> headline_metrics() const = 0;

  /// The loss of a run on `training`. Throws UsageError naming the option that this objective has no use for, or whose
  /// weights are not one for each output.
  virtual Loss make_loss(const LossOptions& options, const data::Targets& training, at::Device device) const = 0;
  /// Summed over the examples, differentiable. Over loss_divisor of the whole batch it is what transformers' model
  /// returns, and torch's CrossEntropyLoss(weight, label_smoothing), BCEWithLogitsLoss(pos_weight) or MSELoss.
  virtual at::Tensor loss_sum(const at::Tensor& logits, const at::Tensor& targets, const Loss& loss) const = 0;
  /// Of the examples `batch`: their number, or the weights of their classes where they have some (as torch's mean).
  virtual double loss_divisor(const data::Targets& targets, const std::vector<std::int64_t>& batch,
                              const Loss& loss) const;

  virtual Metrics metrics(const at::Tensor& logits, const at::Tensor& targets) const = 0;
  /// For results.json beside the metrics: what there is by class, label or output; may be empty.
  virtual nlohmann::json details(const at::Tensor& logits, const at::Tensor& targets,
                                 const std::vector<std::string>& labels) const = 0;
  /// One number an example [n] double, larger is better, at most 1: what paired statistics compare.
  virtual at::Tensor example_scores(const at::Tensor& logits, const at::Tensor& targets) const = 0;
  /// Other metrics that are means over the examples, and of one of them what each example adds [n] double: what paired
  /// statistics can compare, too. Throws UsageError for another.
  virtual std::vector<std::string> mean_metrics() const = 0;
  virtual at::Tensor example_values(const std::string& metric, const at::Tensor& logits,
                                    const at::Tensor& targets) const = 0;
  /// The class that each example is taken for: what metrics are compared by that are no mean over examples. Empty where
  /// an answer is not one class.
  virtual std::vector<std::int32_t> predicted_classes(const at::Tensor&) const { return {}; }
  /// The probability of that class, in the precision in which a journal keeps it: what calibration is computed from.
  virtual std::vector<float> confidences(const at::Tensor&) const { return {}; }
  /// The metrics of the best answer that is the same for every one of these examples: what knowing nothing has.
  Metrics untrained(const at::Tensor& targets, std::int64_t outputs) const;

  /// What the model answers: "predicted" and its probabilities, with `all` of every class.
  virtual OutputColumns predictions(const at::Tensor& logits, const std::vector<std::string>& labels,
                                    bool all) const = 0;
  /// What is right, under "label"; empty where it is not known.
  virtual OutputColumns answers(const data::Targets& targets, const std::vector<std::string>& labels) const = 0;

 protected:
  /// [outputs] double: of the constant answer that `untrained` is about.
  virtual at::Tensor constant_logits(const at::Tensor& targets, std::int64_t outputs) const = 0;
  /// Every value by the names of metric_kinds, which are as many.
  Metrics named(std::int64_t examples, const std::vector<double>& values) const;
  /// Of a metric that is none of mean_metrics.
  [[noreturn]] void refuse_values(const std::string& metric) const;
  /// A loss with those weights (empty: none) of each of `outputs`. Throws UsageError where they are not as many, or not
  /// finite and at least 0.
  static Loss weighted_loss(std::vector<double> weights, std::int64_t outputs, at::Device device);
};

/// Every objective there is. Adding one: its file pair, a line here, a line in CMakeLists.txt, a value of ProblemType.
const std::vector<const Objective*>& objectives();
const Objective& objective_of(ProblemType type);

/// The names of all objectives' metrics, each once.
std::vector<std::string> metric_names();
/// A metric of any objective; two that share a name share what it says. Throws UsageError listing the names.
const MetricKind& metric_kind(const std::string& name);
/// Whether a larger value of that metric is better.
bool larger_is_better(const std::string& metric);
/// A value of that metric so that larger is better: its negative where smaller is.
double merit(const std::string& metric, double value);

/// "log-loss 0.1234  accuracy 0.9000": the headline metrics.
std::string headline_text(const Objective& objective, const Metrics& metrics);

/// A field of a TSV file: a tab or a line end within it becomes a space.
std::string one_line(std::string field);

}  // namespace dtrain::train
