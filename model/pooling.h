#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "model/token_batch.h"

namespace dtrain::model {

/// How the hidden states of an example become one vector: BERT's pooler (a trained linear layer of the first token,
/// tanh), the first token, or the mean over its tokens.
enum class Pooling { pooler, cls, mean };

std::string pooling_name(Pooling pooling);
/// Throws UsageError listing the names there are.
Pooling pooling_from_name(const std::string& name);

/// [tokens, hidden] -> [examples, hidden]: the mean over the tokens of each example.
at::Tensor mean_tokens(const at::Tensor& hidden, const TokenBatch& batch);

/// [tokens, hidden] -> [examples, hidden]: the first token of each example.
at::Tensor first_tokens(const at::Tensor& hidden, const TokenBatch& batch);

}  // namespace dtrain::model
