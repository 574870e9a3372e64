#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dtrain::study {

/// Examples as a probe sees them.
struct ProbeSet {
  at::Tensor features;  // [examples, hidden], of any floating type
  at::Tensor labels;    // [examples] int64
};

/// The best linear classifier on fixed features (a linear probe; Alain and Bengio, 2016): what a head on a frozen body
/// can reach, whatever its learning rate and number of steps.
struct Probe {
  /// The strength of the penalty (LogisticRegression::l2, of features of unit deviation) that dev's log-loss chose.
  double l2 = 0;
  /// The optimum is at an end of the grid.
  bool at_edge = false;
  /// Largest absolute derivative at the chosen optimum, and evaluations of the objective over the whole path.
  double gradient = 0;
  std::int64_t evaluations = 0;
  double train_log_loss = 0;
  double dev_log_loss = 0;
  double dev_accuracy = 0;
  double test_accuracy = 0;
  /// Of each test example: 1 where the probe is right, else 0.
  std::vector<double> test_scores;
};

/// The penalties that are tried, from the strongest on: half decades.
std::vector<double> probe_penalties();

/// Follows the path of solutions from the strongest penalty to weaker ones, each from the last, until dev's log-loss
/// has risen twice in a row, and takes the one where it was lowest. Features are standardised by the mean and deviation
/// of train. Classes that train does not have are never answered, and are left out of dev's log-loss. Throws
/// std::invalid_argument for a set without examples.
Probe fit_probe(const ProbeSet& train, const ProbeSet& dev, const ProbeSet& test);

}  // namespace dtrain::study
