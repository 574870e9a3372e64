#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "model/forward_context.h"
#include "model/linear.h"
#include "model/parameter.h"
#include "model/token_batch.h"

namespace dtrain::model {

/// A pretrained encoder of one family. Values of its parameters are undefined until they are loaded.
class Encoder {
 public:
  virtual ~Encoder() = default;

  virtual int layers() const = 0;
  /// -> [tokens, hidden].
  virtual at::Tensor embed(const TokenBatch& batch, ForwardContext& context) = 0;
  /// [tokens, hidden] -> [tokens, hidden]; `layer` from 0.
  virtual at::Tensor run_layer(int layer, const at::Tensor& hidden, const TokenBatch& batch,
                               ForwardContext& context) = 0;

  /// What has a slot, in the order of the Hugging Face model's modules.
  virtual std::vector<Linear*> layer_linears(int layer) = 0;
  virtual std::vector<Parameter*> embedding_parameters() = 0;
  /// Without the slots'.
  virtual std::vector<Parameter*> layer_parameters(int layer) = 0;
  /// The shape each parameter must have, in the order of `embedding_parameters` and then of the layers'.
  virtual std::vector<std::vector<std::int64_t>> shapes() const = 0;
};

}  // namespace dtrain::model
