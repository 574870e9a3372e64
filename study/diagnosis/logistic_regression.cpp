#include "study/diagnosis/logistic_regression.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/optim/lbfgs.h>

#include <stdexcept>
#include <vector>

namespace dtrain::study {
namespace {

constexpr std::int64_t kMostIterations = 2000;

// The weights of all classes and then their biases in one vector, which is what the solver moves.
class Objective {
 public:
  Objective(const at::Tensor& features, const at::Tensor& labels, std::int64_t classes, double l2)
      : features_(features), labels_(labels.unsqueeze(1)), classes_(classes), l2_(l2) {}

  at::Tensor weight(const at::Tensor& parameters) const {
    return parameters.narrow(0, 0, classes_ * features_.size(1)).view({classes_, features_.size(1)});
  }
  at::Tensor bias(const at::Tensor& parameters) const {
    return parameters.narrow(0, classes_ * features_.size(1), classes_);
  }

  // The value there; its derivatives go to `gradient`.
  at::Tensor evaluate(const at::Tensor& parameters, const at::Tensor& gradient) const {
    const auto log_probabilities = at::log_softmax(at::addmm(bias(parameters), features_, weight(parameters).t()), 1);
    const double scale = 1.0 / static_cast<double>(features_.size(0));
    auto value = log_probabilities.gather(1, labels_).sum().mul(-scale);
    value.add_(weight(parameters).square().sum(), l2_ / 2);
    auto errors = log_probabilities.exp();
    errors.scatter_add_(1, labels_, at::full_like(labels_, -1, errors.options()));
    errors.mul_(scale);
    auto weight_gradient = weight(gradient);
    at::mm_out(weight_gradient, errors.t(), features_);
    weight_gradient.add_(weight(parameters), l2_);
    auto bias_gradient = bias(gradient);
    at::sum_out(bias_gradient, errors, 0);
    return value;
  }

 private:
  const at::Tensor& features_;
  at::Tensor labels_;
  std::int64_t classes_;
  double l2_;
};

}  // namespace

at::Tensor LogisticRegression::logits(const at::Tensor& features) const {
  return at::addmm(bias, features, weight.t());
}

LogisticRegression fit_logistic_regression(const at::Tensor& features, const at::Tensor& labels, std::int64_t classes,
                                           double l2, const LogisticRegression* start, double tolerance) {
  const at::NoGradGuard no_grad;
  if (features.dim() != 2 || features.scalar_type() != at::kDouble || labels.dim() != 1 ||
      labels.size(0) != features.size(0) || features.size(0) == 0 || !(l2 > 0)) {
    throw std::invalid_argument(
        "fit_logistic_regression: expected features [n, f] double, labels [n], n > 0 and l2 > 0");
  }
  const Objective objective(features, labels, classes, l2);
  auto parameters = at::zeros({classes * (features.size(1) + 1)}, features.options());
  if (start != nullptr) {
    objective.weight(parameters).copy_(start->weight);
    objective.bias(parameters).copy_(start->bias);
  }
  const auto gradient = at::zeros_like(parameters);
  parameters.mutable_grad() = gradient;
  LogisticRegression fit;
  torch::optim::LBFGS solver(std::vector<at::Tensor>{parameters}, torch::optim::LBFGSOptions(1)
                                                                      .max_iter(kMostIterations)
                                                                      .max_eval(2 * kMostIterations)
                                                                      .history_size(20)
                                                                      .tolerance_grad(tolerance)
                                                                      .tolerance_change(1e-14)
                                                                      .line_search_fn("strong_wolfe"));
  solver.step([&] {
    const at::NoGradGuard closed;  // the solver opens it for those who compute their gradients by autograd
    ++fit.evaluations;
    return objective.evaluate(parameters, gradient);
  });
  fit.objective = objective.evaluate(parameters, gradient).item<double>();
  fit.gradient = gradient.abs().max().item<double>();
  fit.weight = objective.weight(parameters).clone();
  fit.bias = objective.bias(parameters).clone();
  fit.l2 = l2;
  return fit;
}

}  // namespace dtrain::study
