#include "train/flat_parameters.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <malloc.h>

#include <algorithm>
#include <utility>

namespace dtrain::train {

void FlatParameters::set_gradients(const at::Tensor& flat) const {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    parameters[i]->set_gradient(flat.slice(0, offsets[i], offsets[i + 1]).view(parameters[i]->shape()));
  }
}

void FlatParameters::set_values(const at::Tensor& other) const {
  const at::NoGradGuard no_grad;
  values.copy_(other);
  values_changed();
}

void FlatParameters::values_changed() const { model::Parameter::values_changed(parameters); }

FlatParameters flatten(model::Classifier& classifier) {
  FlatParameters flat;
  for (model::Parameter* parameter : classifier.parameters()) {
    if (parameter->trainable()) flat.parameters.push_back(parameter);
  }
  std::reverse(flat.parameters.begin(), flat.parameters.end());
  const auto group_of = [](const model::Parameter* parameter) {
    return std::pair(parameter->value().dim() <= 1, parameter->learning_rate_factor());
  };
  std::stable_sort(flat.parameters.begin(), flat.parameters.end(),
                   [&](const auto* left, const auto* right) { return group_of(left) < group_of(right); });
  flat.offsets = {0};
  for (const model::Parameter* parameter : flat.parameters) {
    const auto [undecayed, factor] = group_of(parameter);
    const std::int64_t begin = flat.offsets.back();
    const std::int64_t end = begin + parameter->value().numel();
    if (flat.groups.empty() || flat.groups.back().decays == undecayed ||
        flat.groups.back().learning_rate_factor != factor) {
      flat.groups.push_back({begin, end, !undecayed, factor});
    }
    flat.groups.back().end = end;
    flat.offsets.push_back(end);
  }
  for (std::size_t i = 0; i < flat.parameters.size(); ++i) {
    if (flat.parameters[i]->is_lookup_table() && flat.parameters[i]->value().is_cpu()) flat.tables.push_back(i);
  }
  const auto options = flat.parameters.front()->value().options();
  flat.values = at::empty({flat.size()}, options);
  flat.gradients = at::zeros({flat.size()}, options);
  for (std::size_t i = 0; i < flat.parameters.size(); ++i) {
    const auto view = [&](const at::Tensor& whole) {
      return whole.slice(0, flat.offsets[i], flat.offsets[i + 1]).view(flat.parameters[i]->value().sizes());
    };
    flat.parameters[i]->bind(view(flat.values), view(flat.gradients));
  }
  // Where they were is free now, and would stay resident or not as the heap happens to lie.
  if (flat.values.is_cpu()) malloc_trim(0);
  return flat;
}

}  // namespace dtrain::train
