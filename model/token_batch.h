#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace dtrain::model {

/// Where packed sequences lie, as a GPU's attention takes it.
struct DeviceSequences {
  at::Tensor offsets;  // int32, with the tokens that belong to no example, where there are any, as a last sequence
  at::Tensor places;   // [tokens of examples] int64: of each token in the padded [examples, longest]
  at::Tensor mask;     // [examples, 1, 1, longest] bool: where the padded holds a token
};

/// Tokenized examples, the tokens of all one after the other. Only the end of the whole may hold tokens that belong to
/// no example: they make the number of rows one of few, for oneDNN compiles a matmul for each shape that it meets.
/// Nothing reads what is computed from them, and their gradients are zero.
struct TokenBatch {
  at::Tensor ids;        // [tokens] int64
  at::Tensor types;      // [tokens] int64: the segment, 0 or 1
  at::Tensor positions;  // [tokens] int64: within the example
  at::Tensor offsets;    // [examples + 1] int64, on the CPU: where each example begins
  std::int64_t max_length = 0;
  /// Places of tokens without an id, the same number in front of each example [examples * count] int64; undefined:
  /// none.
  at::Tensor virtual_places = {};
  /// On a GPU, where the encoder sees the batch: device_sequences of these offsets. Undefined on the CPU.
  DeviceSequences sequences = {};

  std::int64_t examples() const { return offsets.size(0) - 1; }
  std::int64_t tokens() const { return ids.size(0); }
  /// Those that belong to an example.
  std::int64_t used_tokens() const { return offsets.const_data_ptr<std::int64_t>()[examples()]; }
};

/// The number of tokens is rounded up to a multiple of this.
inline constexpr std::int64_t kTokenMultiple = 16;

/// An example in tokens, special ones included; from `second_segment` on they are of segment 1.
struct ExampleTokens {
  std::span<const std::int32_t> ids;
  std::int32_t second_segment = 0;
};

/// Examples one after the other, without padding between them, filled up to kTokenMultiple; on `device`.
TokenBatch packed(const std::vector<ExampleTokens>& examples, at::Device device);

/// A tensor of the host on `device`. To a GPU it goes through pinned memory, and nothing waits for what the GPU has to
/// do before.
at::Tensor on_device(const at::Tensor& host, at::Device device);

/// Sequences of at most `longest` tokens that begin at `offsets` (on the host), before `rest` tokens of no example.
DeviceSequences device_sequences(const at::Tensor& offsets, std::int64_t longest, std::int64_t rest, at::Device device);

/// The same examples, each with `count` virtual tokens of segment 0 in front, whose positions come before the others'.
TokenBatch with_virtual_tokens(const TokenBatch& batch, std::int64_t count);

}  // namespace dtrain::model
