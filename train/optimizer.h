#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "train/flat_parameters.h"
#include "train/options.h"
#include "train/sharding.h"
#include "train/value_gather.h"

namespace dtrain::train {

/// Linear warm-up over `warmup_ratio` of the steps (rounded up), then linear decay to zero: transformers'
/// get_linear_schedule_with_warmup. The factor on the learning rate of step `step` (from 0).
double schedule_factor(std::int64_t step, std::int64_t total_steps, double warmup_ratio);

/// AdamW (Loshchilov and Hutter, 2019) over flat parameters, with torch.optim.AdamW's arithmetic. On CPUs one pass
/// reads the gradients, clips them, updates, and writes what matmuls take of the values; rows of a lookup table that no
/// example has reached yet have moments of zero, and their weights only decay, which is the same to the bit. On GPUs
/// LibTorch's fused kernel does it.
///
/// Where the optimiser is sharded, each rank updates its share, and the ranks gather the values.
class AdamW {
 public:
  /// With a `gather` (the TrainingStep's, which outlives this) a step returns while values of other ranks are still
  /// under way there, unless the options overlap nothing; without one all are here when it returns.
  AdamW(const FlatParameters& parameters, const TrainOptions& options, Sharding sharding,
        ValueGather* gather = nullptr);
  /// Not sharded.
  AdamW(const FlatParameters& parameters, const TrainOptions& options)
      : AdamW(parameters, options, Sharding(parameters)) {}

  /// One step at `learning_rate`. The gradients are clipped to the options' norm on the way, as
  /// torch.nn.utils.clip_grad_norm_ does; whether they are left so is settled only where somebody needs them
  /// (Sharding::needs_gradients). Returns the norm before clipping. Collective where it is sharded.
  double step(double learning_rate);

  /// Of all parameters, [n].
  struct Moments {
    at::Tensor first;
    at::Tensor second;
  };
  /// On rank 0; undefined on the others where the optimiser is sharded. Collective there, and in host memory.
  Moments moments() const;
  std::int64_t steps() const { return steps_; }
  void restore(const Moments& moments, std::int64_t steps);
  /// Of this rank.
  std::int64_t moment_bytes() const;

 private:
  // What a thread takes at once: on the CPU a stretch of one parameter, of a table whole rows; on a device of a group.
  struct Piece {
    dist::Stretch flat;
    std::int64_t moments;   // where they begin in this rank's
    std::size_t parameter;  // on the CPU
    std::size_t group;
    std::size_t table;  // of tables_, or its size
  };
  struct Table {
    std::size_t parameter;
    std::int64_t columns;
    std::vector<char> reached;  // by row: whether its moments may be other than zero
  };

  /// The pieces that a rank updates, in the order of its moments.
  std::vector<Piece> pieces_of(int rank) const;
  void add_pieces(const dist::Stretch& stretch, std::vector<Piece>& pieces) const;
  double sum_of_squared_gradients() const;
  void mark_reached_rows();
  void update_on_device(double learning_rate, double gradient_factor);
  template <typename Real>
  void update(double learning_rate, double gradient_factor);
  double decay(std::size_t group, double learning_rate) const;
  void gather_values(double learning_rate);
  void gather_rows(ValueGather& gather, const Table& table, double decay);

  const FlatParameters& parameters_;
  Sharding sharding_;
  ValueGather* gather_;  // null: nothing is left under way
  TrainOptions options_;
  std::vector<Table> tables_;
  std::vector<Piece> pieces_;
  at::Tensor first_moments_;  // of this rank's pieces
  at::Tensor second_moments_;
  std::int64_t steps_ = 0;
};

}  // namespace dtrain::train
