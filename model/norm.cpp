#include "model/norm.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include "model/autograd.h"
#include "model/dropout.h"
#include "model/kernels/stored_type.h"

namespace dtrain::model {
namespace {

template <typename Real>
const Real* data_or_null(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<Real>() : nullptr;
}

template <typename Real>
Real* mutable_data_or_null(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.mutable_data_ptr<Real>() : nullptr;
}

// Summed by themselves for the gradients of weight and bias: few enough for a float to hold their sum exactly to 1e-6.
constexpr std::int64_t kSummedRows = 32;

struct NormNode : torch::autograd::Node {
  NormNode(Parameter& used_weight, Parameter& used_bias) : weight(used_weight), bias(used_bias) {}

  variable_list apply(variable_list&& gradients) override {
    const at::NoGradGuard no_grad;
    const auto upstream = gradients[0].contiguous();
    const std::int64_t rows = upstream.size(0);
    const std::int64_t columns = upstream.size(1);
    at::Tensor input_gradient;
    at::Tensor residual_gradient;
    if (task_should_compute_output(1)) residual_gradient = at::empty_like(upstream);
    if (task_should_compute_output(0)) {
      // Without dropout both are the same numbers.
      const bool same = dropout.probability == 0 && residual_gradient.defined() && input_type == upstream.scalar_type();
      input_gradient = same ? residual_gradient : at::empty_like(upstream, upstream.options().dtype(input_type));
    }
    // A few rows at a time are summed in float, and their sums in double: the same for any number of threads.
    const std::int64_t chunks = (rows + kSummedRows - 1) / kSummedRows;
    at::Tensor weight_sums;
    at::Tensor bias_sums;
    if (weight.trainable()) weight_sums = at::zeros({chunks, columns}, upstream.options());
    if (bias.trainable()) bias_sums = at::zeros({chunks, columns}, upstream.options());
    const auto stored_like = input_gradient.defined() ? input_gradient : upstream;
    kernels::for_stored_type(stored_like, [&]<typename Real, typename Stored>() {
      kernels::Norm<Real, Stored> norm{};
      norm.weight = weight.value().const_data_ptr<Real>();
      norm.columns = columns;
      norm.dropout = dropout;
      norm.normalized = normalized.mutable_data_ptr<Real>();
      norm.scale = scale.mutable_data_ptr<Real>();
      norm.output_gradient = upstream.const_data_ptr<Real>();
      norm.residual_gradient = mutable_data_or_null<Real>(residual_gradient);
      if (input_gradient.defined() && !input_gradient.is_same(residual_gradient)) {
        norm.input_gradient = kernels::mutable_stored_data<Stored>(input_gradient);
      }
      at::parallel_for(0, chunks, 1, [&](std::int64_t first_chunk, std::int64_t last_chunk) {
        for (std::int64_t chunk = first_chunk; chunk < last_chunk; ++chunk) {
          auto part = norm;
          if (weight_sums.defined()) part.weight_gradient = weight_sums.mutable_data_ptr<Real>() + chunk * columns;
          if (bias_sums.defined()) part.bias_gradient = bias_sums.mutable_data_ptr<Real>() + chunk * columns;
          kernels::loops<Real, Stored>().norm_backward(part, chunk * kSummedRows,
                                                       std::min((chunk + 1) * kSummedRows, rows));
        }
      });
    });
    if (weight_sums.defined()) weight.add_row_sum(weight_sums);
    if (bias_sums.defined()) bias.add_row_sum(bias_sums);
    return {input_gradient, residual_gradient};
  }

  void release_variables() override {
    normalized.reset();
    scale.reset();
  }

  Parameter& weight;
  Parameter& bias;
  kernels::Dropout dropout;
  at::ScalarType input_type = at::kFloat;
  at::Tensor normalized;
  at::Tensor scale;
};

}  // namespace

LayerNorm::LayerNorm(const std::string& path, std::int64_t size, double epsilon)
    : weight(path + ".weight", {size}), bias(path + ".bias", {size}), path_(path), epsilon_(epsilon) {}

at::Tensor LayerNorm::forward(const at::Tensor& input, const at::Tensor& residual, const kernels::Dropout& mask) {
  if (!input.is_cpu()) {
    const auto dropped = dropout(input, mask);
    const auto sum = (residual.defined() ? dropped + residual : dropped).to(weight.value().scalar_type());
    return at::layer_norm(sum, {sum.size(1)}, weight.use(), bias.use(), epsilon_);
  }
  const bool needed = recording() && (input.requires_grad() || (residual.defined() && residual.requires_grad()) ||
                                      weight.trainable() || bias.trainable());
  at::Tensor output;
  at::Tensor normalized;
  at::Tensor scale;
  {
    const at::NoGradGuard no_grad;
    const auto plain = input.contiguous();
    const auto plain_residual = residual.defined() ? residual.contiguous() : residual;
    const auto real = plain.options().dtype(plain.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
    output = at::empty(plain.sizes(), real);
    if (needed) {
      normalized = at::empty(plain.sizes(), real);
      scale = at::empty({plain.size(0)}, real);
    }
    kernels::for_stored_type(plain, [&]<typename Real, typename Stored>() {
      kernels::Norm<Real, Stored> norm{};
      norm.input = kernels::stored_data<Stored>(plain);
      norm.residual = data_or_null<Real>(plain_residual);
      norm.weight = weight.value().const_data_ptr<Real>();
      norm.bias = bias.value().const_data_ptr<Real>();
      norm.columns = plain.size(1);
      norm.epsilon = static_cast<Real>(epsilon_);
      norm.dropout = mask;
      norm.output = output.mutable_data_ptr<Real>();
      norm.normalized = mutable_data_or_null<Real>(normalized);
      norm.scale = mutable_data_or_null<Real>(scale);
      at::parallel_for(0, plain.size(0), 16, [&](std::int64_t first, std::int64_t last) {
        kernels::loops<Real, Stored>().norm_forward(norm, first, last);
      });
    });
  }
  if (!needed) return output;
  auto node = std::make_shared<NormNode>(weight, bias);
  node->dropout = mask;
  node->input_type = input.scalar_type();
  node->normalized = normalized;
  node->scale = scale;
  if (weight.trainable()) weight.expect_gradient();
  if (bias.trainable()) bias.expect_gradient();
  return with_history(output, node, input, residual);
}

}  // namespace dtrain::model
