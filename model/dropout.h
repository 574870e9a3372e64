#pragma once

#include <ATen/core/Tensor.h>

#include "model/kernels/loops.h"

namespace dtrain::model {

/// Zeroes elements with the given probability and scales the others by 1 / (1 - probability). On the CPU the mask is
/// drawn anew in backward; on a GPU it comes from the device's generator (ForwardContext::begin_pass) and is kept.
at::Tensor dropout(const at::Tensor& input, const kernels::Dropout& dropout);

}  // namespace dtrain::model
