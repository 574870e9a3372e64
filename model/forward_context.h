#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>

#include "model/flop_count.h"
#include "model/kernels/loops.h"

namespace dtrain::model {

class StageObserver;
struct TokenBatch;

/// Names the random numbers of one forward pass: the same three numbers give the same masks on any number of ranks.
struct DropoutStream {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  std::uint64_t shard = 0;
};

/// What one forward pass needs to know besides its input.
class ForwardContext {
 public:
  /// Without dropout.
  ForwardContext() = default;
  /// Training: dropout in the stages from `first_trainable_stage` on (Classifier defines stages).
  ForwardContext(const DropoutStream& stream, int first_trainable_stage);

  bool training() const { return training_ && stage_ >= first_trainable_stage_; }
  int first_trainable_stage() const { return first_trainable_stage_; }
  /// Called by the classifier at the start of each pass. A GPU's masks come from the device's default generator, in
  /// the order of the places that drop: it starts anew here, from the stream and how far it has been used.
  void begin_pass(at::Device device) const;
  /// Entered by the classifier before each stage.
  void enter_stage(int stage) { stage_ = stage; }
  /// The dropout of the next place that has one: of probability 0 where this stage does not train.
  kernels::Dropout next_dropout(double probability);

  /// `input`, without its history, as a matmul takes it. Query, key and value, and the linear layers that methods lay
  /// beside them, ask for the same one after the other: it is rounded once.
  at::Tensor matmul_input(const at::Tensor& input);

  /// Counts `times` matmuls of the size of [m, k] @ [k, n].
  void count_matmuls(std::int64_t m, std::int64_t k, std::int64_t n, int times);
  /// Counts left [..., m, k] @ right [..., k, n], and for each of them that has a history the matmul of its gradient.
  void count_matmuls(const at::Tensor& left, const at::Tensor& right);
  /// Counts the self-attention of a layer over `hidden` numbers a token, each example with `extra_keys` keys besides
  /// its own; where it has a history, backward's, too.
  void count_attention(const TokenBatch& batch, std::int64_t hidden, std::int64_t extra_keys, bool has_history);
  /// Counts what another context has.
  void count(const FlopCount& flop) { flop_.add(flop); }
  /// What the matmuls so far take, and those that their backward will be.
  const FlopCount& flop() const { return flop_; }

  /// The type of matmuls: bfloat16 (accumulated in float; activations between a matmul and the next norm stay
  /// so), or float for the type that the parameters have.
  at::ScalarType matmul_type = at::kFloat;
  /// The examples that the tokens of a stage belong to; null in the head, which has a row for each.
  const TokenBatch* batch = nullptr;
  /// Is shown what each stage below the head returns; null: nobody looks.
  StageObserver* observer = nullptr;

 private:
  bool training_ = false;
  int first_trainable_stage_ = 0;
  int stage_ = 0;
  std::uint64_t key_ = 0;
  std::uint32_t site_ = 0;
  at::Tensor last_input_;
  at::Tensor last_matmul_input_;
  FlopCount flop_;
};

}  // namespace dtrain::model
