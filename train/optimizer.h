#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "train/flat_parameters.h"
#include "train/options.h"

namespace dtrain::train {

/// Linear warm-up over `warmup_ratio` of the steps (rounded up), then linear decay to zero: transformers'
/// get_linear_schedule_with_warmup. The factor on the learning rate of step `step` (from 0).
double schedule_factor(std::int64_t step, std::int64_t total_steps, double warmup_ratio);

/// AdamW (Loshchilov and Hutter, 2019) over flat parameters, by LibTorch's fused kernel.
class AdamW {
 public:
  AdamW(const FlatParameters& parameters, const TrainOptions& options);

  /// One step at `learning_rate`. The gradients are clipped to the options' norm on the way, as
  /// torch.nn.utils.clip_grad_norm_ does, and are left clipped. Returns the norm before clipping.
  double step(double learning_rate);

  const at::Tensor& first_moments() const { return first_moments_; }    // [n]
  const at::Tensor& second_moments() const { return second_moments_; }  // [n]
  std::int64_t steps() const { return steps_; }
  void restore(const at::Tensor& first_moments, const at::Tensor& second_moments, std::int64_t steps);

 private:
  const FlatParameters& parameters_;
  TrainOptions options_;
  at::Tensor first_moments_;
  at::Tensor second_moments_;
  std::int64_t steps_ = 0;
};

}  // namespace dtrain::train
