#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/classifier.h"

namespace dtrain::train {

/// The trainable parameters of a model as views into one buffer of values and one of gradients: first those with weight
/// decay (matrices), then those without (biases, norms), each in the reverse order of the forward pass, which is about
/// the order in which backward completes them.
struct FlatParameters {
  std::vector<model::Parameter*> parameters;
  /// Where each begins, then the end.
  std::vector<std::int64_t> offsets;
  std::int64_t decay_end = 0;
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
