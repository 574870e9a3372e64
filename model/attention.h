#pragma once

#include <ATen/core/Tensor.h>

#include "model/forward_context.h"
#include "model/token_batch.h"

namespace dtrain::model {

/// Keys and values that every token of an example attends to before the example's own, each [examples, count, heads *
/// size]; undefined: none.
struct KeysAndValues {
  at::Tensor keys;
  at::Tensor values;
};

/// Scaled dot-product self-attention over packed sequences: query, key, value [tokens, heads * size] -> [tokens, heads
/// * size]. On the CPU one fused pass a head that keeps no probabilities (after Dao et al., 2022); on a GPU LibTorch's
/// memory-efficient attention (Rabe and Staats, 2021) over the packed sequences, or with dropout and for double
/// padded_attention.
at::Tensor attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const TokenBatch& batch,
                     std::int64_t heads, const kernels::Dropout& dropout, const KeysAndValues& extra = {});

/// The same from LibTorch's scaled_dot_product_attention on any device, over padded sequences.
at::Tensor padded_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const TokenBatch& batch, std::int64_t heads, const kernels::Dropout& dropout,
                            const KeysAndValues& extra = {});

}  // namespace dtrain::model
