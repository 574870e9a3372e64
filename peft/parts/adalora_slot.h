#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/linear.h"
#include "peft/parts/linear_method.h"

namespace dtrain::peft {

/// PEFT's AdaLoraConfig: names and defaults as there, but for total_step, which has none there.
struct AdaLoraConfig {
  std::int64_t init_r = 12;
  /// The rank that the linear layers have at the end, on average.
  std::int64_t target_r = 8;
  double lora_alpha = 8;
  double lora_dropout = 0;
  /// Steps before the first cut, and after the last.
  std::int64_t tinit = 0;
  std::int64_t tfinal = 0;
  /// Steps between two cuts.
  std::int64_t deltaT = 1;
  double beta1 = 0.85;
  double beta2 = 0.85;
  double orth_reg_weight = 0.5;
  /// Of the run; unset: as many as it has.
  std::optional<std::int64_t> total_step;
  /// The ranks of a trained adapter, by the paths of its linear layers; those that are not named have init_r.
  std::map<std::string, std::int64_t> rank_pattern;
};

/// On a linear layer: W x + s B (E * (A dropout(x))), with A [r, in], E [r, 1] and B [out, r].
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
