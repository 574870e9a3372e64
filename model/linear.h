#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "model/forward_context.h"
#include "model/parameter.h"
#include "model/slots.h"

namespace dtrain::model {

/// input [n, in] @ weight.t() [in, out] * scale, plus `bias` [out] and `addend` [n, out] where given. The result, and
/// in backward its gradient, is bfloat16 where the context's matmuls are (as under torch.autocast), else of the
/// input's type. Backward computes only what is asked for: no weight gradient of a frozen weight, no input gradient
/// where nothing below trains.
at::Tensor linear(const at::Tensor& input, Parameter& weight, Parameter* bias, ForwardContext& context,
                  double scale = 1, const at::Tensor& addend = {});

/// A linear layer of the model, with a slot for a PEFT method.
class Linear {
 public:
  /// `path`: the module's path in the Hugging Face model ("bert.encoder.layer.0.attention.self.query").
  Linear(std::string path, std::int64_t in, std::int64_t out);

  at::Tensor forward(const at::Tensor& input, ForwardContext& context);
  /// Of the layer itself, whatever is in the slot.
  at::Tensor base_forward(const at::Tensor& input, ForwardContext& context);

  const std::string& path() const { return path_; }
  std::int64_t in_features() const { return in_; }
  std::int64_t out_features() const { return out_; }

  Parameter weight;  // [out, in]
  Parameter bias;    // [out]
  std::unique_ptr<LinearSlot> slot;

 private:
  std::string path_;
  std::int64_t in_;
  std::int64_t out_;
};

}  // namespace dtrain::model
