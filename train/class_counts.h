#pragma once

#include <cstddef>
#include <vector>

#include "train/metrics.h"

namespace dtrain::train {

/// How often each class is right, true and predicted, and the metrics of classes that this is enough for: those that
/// need no probabilities, as scikit-learn defines them.
struct ClassCounts {
  explicit ClassCounts(std::size_t classes) : hits(classes, 0), truth(classes, 0), predicted(classes, 0) {}

  /// An example of a class, and what was answered.
  void add(std::size_t true_class, std::size_t predicted_class);

  double accuracy() const;
  /// Mean recall over the classes that occur in the data.
  double balanced_accuracy() const;
  /// Over the classes that occur in the data or in the predictions.
  double macro_f1() const;
  double weighted_f1() const;
  double matthews() const;
  LabelMetrics of_class(std::size_t index) const;
  /// Whether it occurs in the data or in the predictions.
  bool is_seen(std::size_t index) const { return truth[index] + predicted[index] > 0; }

  /// By class.
  std::vector<double> hits;
  std::vector<double> truth;
  std::vector<double> predicted;
  /// Of all examples.
  double correct = 0;
  double total = 0;
};

}  // namespace dtrain::train
