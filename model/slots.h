#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "model/forward_context.h"
#include "model/parameter.h"

namespace dtrain::model {

class Linear;

/// Where a PEFT method plugs into a linear map: it computes the map in place of the plain product.
class LinearSlot {
 public:
  virtual ~LinearSlot() = default;
  /// [tokens, in] -> [tokens, out].
  virtual at::Tensor forward(Linear& base, const at::Tensor& input, ForwardContext& context) = 0;
  /// What the slot adds to the model, in a fixed order.
  virtual std::vector<Parameter*> parameters() = 0;
};

}  // namespace dtrain::model
