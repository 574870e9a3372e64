#pragma once

#include <ATen/core/Tensor.h>

#include "model/kernels/loops.h"

namespace dtrain::model::kernels {

/// Calls run.operator()<Real, Stored>() for the type of a tensor that comes from or goes to matmuls: double,
/// float, or float stored as bfloat16.
template <typename Run>
void for_stored_type(const at::Tensor& tensor, const Run& run) {
  if (tensor.scalar_type() == at::kDouble) {
    run.template operator()<double, double>();
  } else if (tensor.scalar_type() == at::kBFloat16) {
    run.template operator()<float, BFloat16>();
  } else {
    run.template operator()<float, float>();
  }
}

template <typename Stored>
const Stored* stored_data(const at::Tensor& tensor) {
  return static_cast<const Stored*>(tensor.const_data_ptr());
}
template <typename Stored>
Stored* mutable_stored_data(const at::Tensor& tensor) {
  return static_cast<Stored*>(tensor.mutable_data_ptr());
}

}  // namespace dtrain::model::kernels
