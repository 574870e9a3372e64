#pragma once

#include <ATen/core/Tensor.h>

#include "model/forward_context.h"

namespace dtrain::model {

/// left [..., m, k] @ right [..., k, n] by LibTorch's autograd, counted in the context.
at::Tensor matmul(const at::Tensor& left, const at::Tensor& right, ForwardContext& context);

/// input [rows, in] @ weight [out, in].T + bias [out], which may be undefined: torch.nn.functional.linear without
/// history. Floats of many rows are multiplied by oneDNN where LibTorch would take MKL's kernels for processors of
/// others than Intel (docs/performance.md); which library it is depends on the processor and the shape alone.
at::Tensor linear_matmul(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias = {});

/// The gradient of its input likewise: gradient [rows, out] @ weight [out, in].
at::Tensor linear_input_gradient(const at::Tensor& gradient, const at::Tensor& weight);

}  // namespace dtrain::model
