#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/classifier.h"

namespace dtrain::train {

/// Neighbours in the flat buffers that the optimiser treats alike.
struct ParameterGroup {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool decays = false;
  double learning_rate_factor = 1;
};

/// The trainable parameters of a model as views into one buffer of values and one of gradients, group by group, those
/// with weight decay (matrices) before those without (biases, norms); in a group in the reverse order of the forward
/// pass, which is about the order in which backward completes them.
struct FlatParameters {
  std::vector<model::Parameter*> parameters;
  /// Where each begins, then the end.
  std::vector<std::int64_t> offsets;
  std::vector<ParameterGroup> groups;
  /// Of the parameters, the lookup tables on the CPU, ascending: a step gives few of their rows a gradient.
  std::vector<std::size_t> tables;
  at::Tensor values;     // [n]
  at::Tensor gradients;  // [n]

  std::int64_t size() const { return offsets.back(); }
  std::int64_t bytes() const { return size() * static_cast<std::int64_t>(values.element_size()); }
  /// Takes over other values [n], on any device.
  void set_values(const at::Tensor& other) const;
  /// To be called when somebody wrote into `values`.
  void values_changed() const;
  /// Points every parameter's gradient into `flat` [n].
  void set_gradients(const at::Tensor& flat) const;
};

/// Moves the trainable parameters of `classifier` into flat buffers; they stay there.
FlatParameters flatten(model::Classifier& classifier);

}  // namespace dtrain::train
