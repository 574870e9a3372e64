#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "model/forward_context.h"
#include "model/linear.h"
#include "peft/parts/linear_method.h"

namespace dtrain::peft {

/// LyCORIS's dropout of a weight change, under the names and defaults of PEFT.
struct ChangeDropout {
  /// The share of the change's rows that are left out.
  double rank_dropout = 0;
  /// How often the whole change of a linear layer is left out.
  double module_dropout = 0;
  /// Whether the rows that are left make up for the others.
  bool rescales = true;

  /// What the change's rows, or the columns of what it gives, are multiplied by in this forward pass: [out], of the
  /// type and device of `like`. Undefined: by nothing.
  at::Tensor next(model::ForwardContext& context, std::int64_t out, const at::Tensor& like) const;
};

void write_change_dropout(nlohmann::json& config, const ChangeDropout& dropout);

/// The settings of ChangeDropout without `rescales`, and their values.
std::vector<MethodSetting> with_change_dropout(std::vector<MethodSetting> settings);
ChangeDropout read_change_dropout(const MethodSettings& settings);

/// A slot that computes a matrix of the weight's size and adds it: (W + change) x + b. One matmul of that size gives
/// the change its gradient; there is none more than a full fine-tuning has.
class WeightChangeSlot : public WeightSlot {
 public:
  at::Tensor forward(model::Linear& base, const at::Tensor& input, model::ForwardContext& context) override;
  void merge_into(model::Linear& base) override;

 protected:
  /// `input_dropout`: on what the change takes, not on what W takes.
  explicit WeightChangeSlot(const ChangeDropout& dropout, double input_dropout = 0)
      : dropout_(dropout), input_dropout_(input_dropout) {}

  /// [out, in], computed from the parameters' use(), so that gradients flow to them where they are recorded.
  virtual at::Tensor change(model::ForwardContext& context) = 0;

 private:
  ChangeDropout dropout_;
  double input_dropout_;
};

/// A generator for random numbers that are not drawn element by element: the same at the same place of the same forward
/// pass on any rank.
at::Generator generator_at(const model::kernels::Dropout& place);

}  // namespace dtrain::peft
