#pragma once

#include <ATen/core/Tensor.h>

namespace dtrain::model::kernels {

/// Calls run(double{}) for a double tensor, else run(float{}).
template <typename Run>
void for_real_type(const at::Tensor& tensor, const Run& run) {
  if (tensor.scalar_type() == at::kDouble) {
    run(double{});
  } else {
    run(float{});
  }
}

}  // namespace dtrain::model::kernels
