#pragma once

#include <ATen/core/Tensor.h>

#include "model/token_batch.h"

namespace dtrain::model {

/// Is shown the states between the stages of a forward pass, as they come by (ForwardContext::observer): probes, drift
/// and caches need no second pass.
class StageObserver {
 public:
  virtual ~StageObserver() = default;

  /// `hidden` [tokens, hidden] is what stage `stage` of the classifier returned (0 the embeddings, 1..L the layers) for
  /// `batch`, which has the method's virtual tokens and may end in tokens of no example. The tensor is the pass's own,
  /// with its gradient history: whoever keeps it detaches or copies it, and writes nothing into it.
  virtual void after_stage(int stage, const at::Tensor& hidden, const TokenBatch& batch) = 0;
};

}  // namespace dtrain::model
