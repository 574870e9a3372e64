#pragma once

#include <ATen/core/Tensor.h>

#include "model/parameter.h"
#include "model/token_batch.h"

namespace dtrain::model {

/// The sum of word, position and, unless null, segment embeddings, each [n, hidden] -> [tokens, hidden]. The batch's
/// virtual tokens have the rows of `virtual_words` [virtual tokens of an example, hidden] for words.
at::Tensor embed_tokens(const TokenBatch& batch, Parameter& words, Parameter& positions, Parameter* types,
                        const at::Tensor& virtual_words);

}  // namespace dtrain::model
