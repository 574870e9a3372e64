#include "train/best_step.h"

#include <cmath>
#include <utility>

namespace dtrain::train {

BestStep::BestStep(std::string metric) : metric_(std::move(metric)), larger_is_better_(larger_is_better(metric_)) {}

bool BestStep::is_best(const Metrics& metrics) const {
  const double value = metrics.value(metric_);
  // Nothing compares as better than what is not a number, which would stay the best for ever.
  if (std::isnan(value)) return false;
  return step_ == 0 || (larger_is_better_ ? value > value_ : value < value_);
}

void BestStep::keep(std::int64_t step, Evaluation evaluation, const at::Tensor& values) {
  step_ = step;
  passed_over_ = 0;
  value_ = evaluation.metrics.value(metric_);
  values_ = values;
  evaluation_ = std::move(evaluation);
}

void BestStep::restore(std::int64_t step, double value, const at::Tensor& values) {
  step_ = step;
  value_ = value;
  values_ = values;
  evaluation_.reset();
}

}  // namespace dtrain::train
