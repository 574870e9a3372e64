#pragma once

#include <ATen/core/Tensor.h>

#include "model/parameter.h"
#include "model/token_batch.h"

namespace dtrain::model {

/// The sum of word, position and segment embeddings, each [n, hidden] -> [tokens, hidden].
at::Tensor embed_tokens(const TokenBatch& batch, Parameter& words, Parameter& positions, Parameter& types);

}  // namespace dtrain::model
