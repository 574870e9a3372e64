#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "train/evaluation.h"

namespace dtrain::train {

/// The best step on dev so far, by one metric, and what is kept of it.
class BestStep {
 public:
  /// `metric` as in Metrics::value; throws UsageError for one that is not known.
  explicit BestStep(std::string metric);

  /// Whether a step with these metrics is the best so far: better than the one before, or the first. What is not a
  /// number never is.
  bool is_best(const Metrics& metrics) const;
  /// Makes it the best, with the weights it left.
  void keep(std::int64_t step, Evaluation evaluation, const at::Tensor& values);
  /// As a checkpoint holds it, which has no evaluation but the one metric.
  void restore(std::int64_t step, double value, const at::Tensor& values);
  /// A step was no better.
  void pass_over() { ++passed_over_; }
  /// Evaluations in a row, up to the last, that were no better than the best; counted anew where a phase begins.
  std::int64_t passed_over() const { return passed_over_; }
  void set_passed_over(std::int64_t count) { passed_over_ = count; }
  /// The same weights under other parameters.
  void set_values(const at::Tensor& values) { values_ = values; }

  /// From 1; 0: there is none.
  std::int64_t step() const { return step_; }
  double value() const { return value_; }
  const at::Tensor& values() const { return values_; }
  const std::optional<Evaluation>& evaluation() const { return evaluation_; }

 private:
  std::string metric_;
  bool larger_is_better_;
  std::int64_t step_ = 0;
  std::int64_t passed_over_ = 0;
  double value_ = 0;
  at::Tensor values_;
  std::optional<Evaluation> evaluation_;
};

}  // namespace dtrain::train
