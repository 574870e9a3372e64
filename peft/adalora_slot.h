#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <vector>

#include "model/linear.h"
#include "peft/adalora.h"

namespace dtrain::peft {

/// On a linear map: W x + s B (E * (A dropout(x))), with A [r, in], E [r, 1] and B [out, r].
class AdaLoraSlot final : public WeightSlot {
 public:
  AdaLoraSlot(const model::Linear& base, const AdaLoraConfig& config, at::Generator& generator);

  at::Tensor forward(model::Linear& base, const at::Tensor& input, model::ForwardContext& context) override;
  std::vector<model::Parameter*> parameters() override { return {&a, &e, &b}; }
  void merge_into(model::Linear& base) override;

  /// Which rows an adapter's file holds: those that are not cut, or that have grown again since. [r] bool; undefined
  /// while nothing was cut: all.
  at::Tensor kept_rows() const;

  model::Parameter a;
  model::Parameter e;
  model::Parameter b;
  /// Which rows the last cut left, [r] bool; undefined while there was none.
  at::Tensor pattern;
  /// Of the run that trained it; 0: none did.
  std::int64_t total_step = 0;

 private:
  double dropout_;
  double scale_;
};

}  // namespace dtrain::peft
