#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/linear.h"
#include "model/parameter.h"
#include "peft/parts/linear_method.h"

namespace dtrain::peft {

/// What LoRA adds to one linear layer.
struct LoraUpdate {
  std::int64_t r = 8;
  /// Of B A x.
  double scale = 1;
  double dropout = 0;
  /// PEFT's init_lora_weights: "true", "false", "gaussian", "orthogonal", "pissa", "pissa_niter_N" or "olora".
  std::string init = "true";
  /// DoRA (Liu et al., 2024, ICML): the rows' lengths train on their own.
  bool dora = false;
  /// A bias of B's.
  bool bias = false;
};

/// Throws UsageError unless the word is one of those in LoraUpdate::init.
void check_lora_init(const std::string& word);

/// Keys of PEFT's LoraConfig, which its AdaLoraConfig inherits, that no method here heeds.
FileKeys other_lora_keys();

/// Where the two matrices of an update start.
struct LoraFactors {
  at::Tensor a;  // [r, in]
  at::Tensor b;  // [out, r]
};

/// W x + b + scale * B A dropout(x), with A [r, in] and B [out, r]. With DoRA the rows of W + scale * B A are given the
/// lengths of a magnitude vector [out], which gets the gradient of a length that is held fixed.
class LoraSlot final : public WeightSlot {
 public:
  /// Draws A and B. PiSSA and OLoRA take them out of the weight of `base`, so that the sum stays what it was.
  LoraSlot(model::Linear& base, const LoraUpdate& update, at::Generator& generator);

  at::Tensor forward(model::Linear& base, const at::Tensor& input, model::ForwardContext& context) override;
  std::vector<model::Parameter*> parameters() override;
  void merge_into(model::Linear& base) override;

  const LoraUpdate& update() const { return update_; }
  const model::Parameter& a() const { return a_; }
  const model::Parameter& b() const { return b_; }
  /// Of a slot that changed its base: A and B of the plain update with the same effect on the base as it was. Its rank
  /// is twice as high, its scale the same.
  bool changed_base() const { return start_a_.defined(); }
  at::Tensor plain_a() const;
  at::Tensor plain_b() const;

 private:
  LoraSlot(model::Linear& base, const LoraUpdate& update, const LoraFactors& start);

  at::Tensor updated_weight(const model::Linear& base) const;
  at::Tensor row_lengths(const model::Linear& base) const;
  at::Tensor forward_dora(model::Linear& base, const at::Tensor& input, model::ForwardContext& context);

  LoraUpdate update_;
  model::Parameter a_;                         // [r, in]
  model::Parameter b_;                         // [out, r]
  std::optional<model::Parameter> b_bias_;     // [out]
  std::optional<model::Parameter> magnitude_;  // [out]
  at::Tensor start_a_;
  at::Tensor start_b_;
};

}  // namespace dtrain::peft
