#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "train/flat_parameters.h"
#include "train/options.h"

namespace dtrain::train {

/// Linear warm-up over `warmup_ratio` of the steps (rounded up), then linear decay to zero: transformers'
/// get_linear_schedule_with_warmup. The factor on the learning rate of step `step` (from 0).
double schedule_factor(std::int64_t step, std::int64_t total_steps, double warmup_ratio);

/// AdamW (Loshchilov and Hutter, 2019) over flat parameters, with torch.optim.AdamW's arithmetic. On CPUs one pass
/// reads the gradients, clips them, updates, and writes what matmuls take of the values; rows of a lookup table that no
/// example has reached yet have moments of zero, and their weights only decay, which is the same to the bit. On GPUs
/// LibTorch's fused kernel does it.
class AdamW {
 public:
  AdamW(const FlatParameters& parameters, const TrainOptions& options);

  /// One step at `learning_rate`. The gradients are clipped to the options' norm on the way, as
  /// torch.nn.utils.clip_grad_norm_ does. Returns the norm before clipping. `leaves_clipped`: somebody reads the
  /// gradients afterwards, and finds them clipped; else they may be either.
  double step(double learning_rate, bool leaves_clipped = false);

  const at::Tensor& first_moments() const { return first_moments_; }    // [n]
  const at::Tensor& second_moments() const { return second_moments_; }  // [n]
  std::int64_t steps() const { return steps_; }
  void restore(const at::Tensor& first_moments, const at::Tensor& second_moments, std::int64_t steps);

 private:
  // What a thread takes at once: a stretch of one parameter in the flat buffers, of a table whole rows.
  struct Piece {
    std::int64_t begin;
    std::int64_t end;
    std::size_t parameter;
    std::size_t group;
    std::size_t table;  // of tables_, or its size
  };
  struct Table {
    std::size_t parameter;
    std::int64_t columns;
    std::vector<char> reached;  // by row: whether its moments may be other than zero
  };

  double sum_of_squared_gradients() const;
  void mark_reached_rows();
  void update_on_device(double learning_rate, double gradient_factor);
  template <typename Real>
  void update(double learning_rate, double gradient_factor);

  const FlatParameters& parameters_;
  TrainOptions options_;
  at::Tensor first_moments_;
  at::Tensor second_moments_;
  std::int64_t steps_ = 0;
  std::vector<Piece> pieces_;
  std::vector<Table> tables_;
};

}  // namespace dtrain::train
