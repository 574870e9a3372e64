#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dtrain::model {

/// Tokenized examples without padding: the tokens of all, one after the other.
struct TokenBatch {
  at::Tensor ids;        // [tokens] int64
  at::Tensor types;      // [tokens] int64: the segment, 0 or 1
  at::Tensor positions;  // [tokens] int64: within the example
  at::Tensor offsets;    // [examples + 1] int64, on the CPU: where each example begins
  std::int64_t max_length = 0;

  std::int64_t examples() const { return offsets.size(0) - 1; }
  std::int64_t tokens() const { return ids.size(0); }
};

}  // namespace dtrain::model
