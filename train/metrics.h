#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace dtrain::train {

/// The metrics of one evaluation, as scikit-learn defines them.
struct Metrics {
  std::int64_t examples = 0;
  double accuracy = 0;
  /// Mean recall over the classes that occur in the data.
  double balanced_accuracy = 0;
  /// Means over the classes that occur in the data or in the predictions.
  double macro_f1 = 0;
  double weighted_f1 = 0;
  double matthews = 0;
  double log_loss = 0;
  /// Expected calibration error over 15 bins of equal width (Guo et al., 2017).
  double calibration_error = 0;

  struct PerClass {
    double precision = 0;
    double recall = 0;
    double f1 = 0;
    std::int64_t support = 0;
  };
  std::vector<PerClass> classes;
  /// confusion[true class][predicted class].
  std::vector<std::vector<std::int64_t>> confusion;

  /// By its name in results.json ("accuracy", "log_loss", ...). Throws UsageError listing the names for another.
  double value(const std::string& name) const;
};

/// Names that Metrics::value takes, and which may choose the best step.
const std::vector<std::string>& metric_names();
/// Whether a larger value of that metric is better.
bool larger_is_better(const std::string& metric);

/// From logits [n, classes] (any floating type, on the CPU) and labels [n] int64. Arithmetic in double.
Metrics compute_metrics(const at::Tensor& logits, const at::Tensor& labels);

/// The scalars; with `details` also the classes (by name) and the confusion matrix.
nlohmann::json metrics_json(const Metrics& metrics, const std::vector<std::string>& labels, bool details);

}  // namespace dtrain::train
