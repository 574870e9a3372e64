#include "train/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "model/sums.h"
#include "peft/registry.h"

namespace dtrain::train {

double learning_rate_of(const TrainOptions& options) {
  if (options.learning_rate) return *options.learning_rate;
  const auto& grid = peft::method_kind(options.method.name).learning_rates;
  return grid[grid.size() / 2];
}

double schedule_factor(std::int64_t step, std::int64_t total_steps, double warmup_ratio) {
  const auto warmup = static_cast<std::int64_t>(std::ceil(warmup_ratio * static_cast<double>(total_steps)));
  if (step < warmup) return static_cast<double>(step) / static_cast<double>(std::max<std::int64_t>(1, warmup));
  return std::max(0.0, static_cast<double>(total_steps - step) /
                           static_cast<double>(std::max<std::int64_t>(1, total_steps - warmup)));
}

AdamW::AdamW(const FlatParameters& parameters, const TrainOptions& options)
    : parameters_(parameters),
      options_(options),
      first_moments_(at::zeros_like(parameters.values)),
      second_moments_(at::zeros_like(parameters.values)) {}

double AdamW::step(double learning_rate) {
  const at::NoGradGuard no_grad;
  ++steps_;
  // A GPU sums as a tree; on the CPU LibTorch's norm keeps one float for millions of squares.
  const double norm = parameters_.gradients.is_cpu() ? model::euclidean_norm(parameters_.gradients)
                                                     : at::linalg_vector_norm(parameters_.gradients).item<double>();
  // The kernel divides gradients by this scale as it reads them: clipping costs no pass of its own. It knows float
  // scales only, which would cost doubles their precision.
  std::optional<at::Tensor> grad_scale;
  if (options_.max_gradient_norm > 0 && norm > options_.max_gradient_norm) {
    const double scale = (norm + 1e-6) / options_.max_gradient_norm;
    if (parameters_.gradients.scalar_type() == at::kDouble) {
      parameters_.gradients.div_(scale);
    } else {
      grad_scale = at::full({}, scale, parameters_.gradients.options());
    }
  }
  for (const ParameterGroup& group : parameters_.groups) {
    const auto part = [&](const at::Tensor& whole) { return whole.slice(0, group.begin, group.end); };
    const auto count = at::full({}, static_cast<double>(steps_), parameters_.values.options().dtype(at::kFloat));
    at::_fused_adamw_({part(parameters_.values)}, {part(parameters_.gradients)}, {part(first_moments_)},
                      {part(second_moments_)}, {}, {count}, learning_rate * group.learning_rate_factor, options_.beta1,
                      options_.beta2, group.decays ? options_.weight_decay : 0, options_.epsilon, /*amsgrad=*/false,
                      /*maximize=*/false, grad_scale, std::nullopt);
  }
  parameters_.values_changed();
  return norm;
}

void AdamW::restore(const at::Tensor& first_moments, const at::Tensor& second_moments, std::int64_t steps) {
  first_moments_.copy_(first_moments);
  second_moments_.copy_(second_moments);
  steps_ = steps;
}

}  // namespace dtrain::train
