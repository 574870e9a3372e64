#include "model/linear.h"

#include <ATen/ATen.h>

#include "model/autograd.h"
#include "model/matmul.h"

namespace dtrain::model {
namespace {

// Of the given type. A GPU writes float from bfloat16 at once.
at::Tensor input_gradient_as(at::ScalarType type, const at::Tensor& gradient, const at::Tensor& weight) {
  return gradient.is_cpu() || gradient.scalar_type() == type ? linear_input_gradient(gradient, weight)
                                                             : at::mm(gradient, weight, type);
}

struct LinearNode : torch::autograd::Node {
  explicit LinearNode(Parameter& used_weight, Parameter* used_bias) : weight(used_weight), bias(used_bias) {}

  variable_list apply(variable_list&& gradients) override {
    const at::NoGradGuard no_grad;
    const at::Tensor gradient = gradients[0].contiguous();
    // The gradient of the input first: what waits for it lies below, and its work can start.
    at::Tensor input_gradient;
    if (task_should_compute_output(0)) {
      input_gradient = input_gradient_as(input_type, gradient, weight.matmul_value(matmul_type));
      if (scale != 1) input_gradient.mul_(scale);
    }
    if (weight.trainable()) weight.add_matmul(gradient, input, scale);
    if (bias != nullptr && bias->trainable()) bias->add_row_sum(gradient);
    return {input_gradient, task_should_compute_output(1) ? gradient : at::Tensor()};
  }

  void release_variables() override { input.reset(); }

  Parameter& weight;
  Parameter* bias;
  at::Tensor input;  // as the matmul took it; kept only for the weight's gradient
  at::ScalarType matmul_type = at::kFloat;
  at::ScalarType input_type = at::kFloat;
  double scale = 1;
};

}  // namespace

at::Tensor linear(const at::Tensor& input, Parameter& weight, Parameter* bias, ForwardContext& context, double scale,
                  const at::Tensor& addend) {
  const auto matmul_type = context.matmul_type;
  at::Tensor output;
  at::Tensor factor;
  {
    const at::NoGradGuard no_grad;
    factor = context.matmul_input(input);
    const auto matrix = weight.matmul_value(matmul_type);
    if (addend.defined()) {
      output = at::addmm(addend, factor, matrix.t(), 1, scale);
      if (bias != nullptr) output.add_(bias->matmul_value(matmul_type));
    } else if (bias != nullptr && scale == 1) {
      output = linear_matmul(factor, matrix, bias->matmul_value(matmul_type));
    } else {
      output = linear_matmul(factor, matrix);
      if (scale != 1) output.mul_(scale);
      if (bias != nullptr) output.add_(bias->matmul_value(matmul_type));
    }
  }
  const int gradients = recording() ? (input.requires_grad() ? 1 : 0) + (weight.trainable() ? 1 : 0) : 0;
  context.count_matmuls(factor.size(0), factor.size(1), output.size(1), 1 + gradients);
  const bool bias_trains = bias != nullptr && bias->trainable();
  const bool needed =
      input.requires_grad() || weight.trainable() || bias_trains || (addend.defined() && addend.requires_grad());
  if (!recording() || !needed) return output;
  auto node = std::make_shared<LinearNode>(weight, bias);
  node->matmul_type = matmul_type;
  node->input_type = input.scalar_type();
  node->scale = scale;
  if (weight.trainable()) {
    node->input = factor;
    weight.expect_gradient();
  }
  if (bias_trains) bias->expect_gradient();
  return with_history(output, node, input, addend);
}

Linear::Linear(std::string path, std::int64_t in, std::int64_t out)
    : weight(path + ".weight", {out, in}), bias(path + ".bias", {out}), path_(std::move(path)), in_(in), out_(out) {}

at::Tensor Linear::forward(const at::Tensor& input, ForwardContext& context) {
  return slot ? slot->forward(*this, input, context) : base_forward(input, context);
}

at::Tensor Linear::base_forward(const at::Tensor& input, ForwardContext& context) {
  return linear(input, weight, bias.value().defined() ? &bias : nullptr, context);
}

}  // namespace dtrain::model
