#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dtrain::study {

/// A multinomial logistic regression with an L2 penalty, at its optimum: the minimum over `weight` and `bias` of
///
///     mean over the examples of -log softmax(weight x + bias)[label]  +  l2 / 2 |weight|^2
///
/// scikit-learn's LogisticRegression(C = 1 / (examples * l2)), which leaves the bias free, too.
struct LogisticRegression {
  at::Tensor weight;  // [classes, features] double
  at::Tensor bias;    // [classes] double
  double l2 = 0;
  /// The minimum that was found.
  double objective = 0;
  /// The largest absolute derivative there: how far from the optimum the solver ended.
  double gradient = 0;
  /// Evaluations of the objective.
  std::int64_t evaluations = 0;

  /// [examples, features] double -> [examples, classes].
  at::Tensor logits(const at::Tensor& features) const;
};

/// The solver ends where no derivative is larger, unless it is told another.
inline constexpr double kGradientTolerance = 1e-6;

/// Solves it by L-BFGS (Liu and Nocedal, 1989; torch::optim::LBFGS with a strong-Wolfe line search) from zero, or from
/// `start`, the solution for a neighbouring penalty. `features` [examples, features] double, of about unit deviation;
/// `labels` [examples] int64, each class at least once, or its bias has no optimum. Throws std::invalid_argument where
/// the shapes do not fit or l2 is not above 0.
LogisticRegression fit_logistic_regression(const at::Tensor& features, const at::Tensor& labels, std::int64_t classes,
                                           double l2, const LogisticRegression* start = nullptr,
                                           double tolerance = kGradientTolerance);

}  // namespace dtrain::study
