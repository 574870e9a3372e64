#include "train/flat_parameters.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace dtrain::train {

void FlatParameters::set_gradients(const at::Tensor& flat) const {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    parameters[i]->set_gradient(flat.slice(0, offsets[i], offsets[i + 1]).view(parameters[i]->value().sizes()));
  }
}

void FlatParameters::set_values(const at::Tensor& other) const {
  const at::NoGradGuard no_grad;
  values.copy_(other);
  values_changed();
}

void FlatParameters::values_changed() const {
  for (model::Parameter* parameter : parameters) parameter->value_changed();
}

FlatParameters flatten(model::Classifier& classifier) {
  FlatParameters flat;
  for (model::Parameter* parameter : classifier.parameters()) {
    if (parameter->trainable()) flat.parameters.push_back(parameter);
  }
  std::reverse(flat.parameters.begin(), flat.parameters.end());
  const auto decays = [](const model::Parameter* parameter) { return parameter->value().dim() > 1; };
  const auto middle = std::stable_partition(flat.parameters.begin(), flat.parameters.end(), decays);
  flat.offsets = {0};
  for (auto position = flat.parameters.begin(); position != flat.parameters.end(); ++position) {
    if (position == middle) flat.decay_end = flat.offsets.back();
    flat.offsets.push_back(flat.offsets.back() + (*position)->value().numel());
  }
  if (middle == flat.parameters.end()) flat.decay_end = flat.offsets.back();
  const auto options = flat.parameters.front()->value().options();
  flat.values = at::empty({flat.size()}, options);
  flat.gradients = at::zeros({flat.size()}, options);
  for (std::size_t i = 0; i < flat.parameters.size(); ++i) {
    const auto view = [&](const at::Tensor& whole) {
      return whole.slice(0, flat.offsets[i], flat.offsets[i + 1]).view(flat.parameters[i]->value().sizes());
    };
    flat.parameters[i]->bind(view(flat.values), view(flat.gradients));
  }
  return flat;
}

}  // namespace dtrain::train
