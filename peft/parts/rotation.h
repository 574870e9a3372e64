#pragma once

#include <ATen/core/Tensor.h>

#include "model/forward_context.h"

namespace dtrain::peft {

/// Cayley's map of skew-symmetric matrices [..., n, n] to rotations: (I - Q)(I + Q)^-1.
at::Tensor cayley(const at::Tensor& skew);

/// Each part of n columns of rows [m, blocks * n] times its own matrix of `blocks` [blocks, n, n], or all times the one
/// of [1, n, n].
at::Tensor multiply_blocks(const at::Tensor& rows, const at::Tensor& blocks, model::ForwardContext& context);

}  // namespace dtrain::peft
