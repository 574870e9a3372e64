#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/attention.h"
#include "model/forward_context.h"
#include "model/parameter.h"
#include "model/token_batch.h"

/// The places where a PEFT method plugs into a model. A method fills slots and marks what trains; the model never asks
/// which method it is.
namespace dtrain::model {

class Linear;
class LayerNorm;

class Slot {
 public:
  virtual ~Slot() = default;
  /// What the slot adds to the model, in a fixed order.
  virtual std::vector<Parameter*> parameters() = 0;
};

/// On a linear layer: computes it in place of the plain matmul.
class LinearSlot : public Slot {
 public:
  /// [tokens, in] -> [tokens, out].
  virtual at::Tensor forward(Linear& base, const at::Tensor& input, ForwardContext& context) = 0;
};

/// In the self-attention of a layer.
class AttentionSlot : public Slot {
 public:
  /// `hidden`: the layer's input [tokens, hidden] -> what its tokens attend to besides each other.
  virtual KeysAndValues keys_and_values(const at::Tensor& hidden, const TokenBatch& batch, ForwardContext& context) = 0;
};

/// What a sub-layer (self-attention or feed-forward) hands to its residual connection.
struct SublayerResult {
  const at::Tensor& input;   // [tokens, hidden]: what it took, which is the residual
  const at::Tensor& output;  // [tokens, hidden], before dropout
  const TokenBatch& batch;
  kernels::Dropout dropout;
};

/// After a sub-layer: computes LayerNorm(dropout(output) + input) with something added.
class SublayerSlot : public Slot {
 public:
  /// -> [tokens, hidden].
  virtual at::Tensor forward(const SublayerResult& result, LayerNorm& norm, ForwardContext& context) = 0;
};

/// In front of the embeddings: virtual tokens that every example begins with.
class EmbeddingSlot : public Slot {
 public:
  virtual std::int64_t virtual_tokens() const = 0;
  /// In the place of their word embeddings: [virtual tokens, hidden].
  virtual at::Tensor embeddings(ForwardContext& context) = 0;
};

}  // namespace dtrain::model
