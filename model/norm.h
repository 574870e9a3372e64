#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "model/forward_context.h"
#include "model/parameter.h"

namespace dtrain::model {

/// BERT's residual connection: LayerNorm(dropout(input) + residual), in one pass on the CPU.
class LayerNorm {
 public:
  /// `path`: the module's path in the Hugging Face model.
  LayerNorm(const std::string& path, std::int64_t size, double epsilon);

  /// [n, hidden], `residual` undefined or alike -> [n, hidden].
  at::Tensor forward(const at::Tensor& input, const at::Tensor& residual, const kernels::Dropout& dropout);

  const std::string& path() const { return path_; }

  Parameter weight;  // [hidden]
  Parameter bias;    // [hidden]

 private:
  std::string path_;
  double epsilon_;
};

}  // namespace dtrain::model
