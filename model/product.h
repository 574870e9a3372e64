#pragma once

#include <ATen/core/Tensor.h>

#include "model/forward_context.h"

namespace dtrain::model {

/// left @ right by LibTorch's autograd, counted in the context.
at::Tensor product(const at::Tensor& left, const at::Tensor& right, ForwardContext& context);

}  // namespace dtrain::model
