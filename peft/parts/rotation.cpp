#include "peft/parts/rotation.h"

#include <ATen/ATen.h>

#include "model/matmul.h"

namespace dtrain::peft {

at::Tensor cayley(const at::Tensor& skew) {
  const auto identity = at::eye(skew.size(-1), skew.options()).expand_as(skew);
  return at::linalg_solve(identity + skew, identity - skew, /*left=*/false);
}

at::Tensor multiply_blocks(const at::Tensor& rows, const at::Tensor& blocks, model::ForwardContext& context) {
  const std::int64_t size = blocks.size(1);
  if (blocks.size(0) == 1) return model::matmul(rows.reshape({-1, size}), blocks[0], context).view_as(rows);
  const auto parts = rows.reshape({rows.size(0), -1, size}).transpose(0, 1);
  return model::matmul(parts, blocks, context).transpose(0, 1).reshape(rows.sizes());
}

}  // namespace dtrain::peft
