#include "peft/parts/adalora_slot.h"

#include <ATen/ATen.h>

#include "model/dropout.h"

namespace dtrain::peft {
namespace {

std::int64_t rank_of(const model::Linear& base, const AdaLoraConfig& config) {
  const auto found = config.rank_pattern.find(base.path());
  return found != config.rank_pattern.end() ? found->second : config.init_r;
}

at::Tensor drawn_factor(at::IntArrayRef shape, const model::Linear& base, at::Generator& generator) {
  return at::empty(shape).normal_(0, 0.02, generator).to(base.weight.value().options());
}

}  // namespace

AdaLoraSlot::AdaLoraSlot(const model::Linear& base, const AdaLoraConfig& config, at::Generator& generator)
    : a(base.path() + ".lora_A", drawn_factor({rank_of(base, config), base.in_features()}, base, generator)),
      e(base.path() + ".lora_E", at::zeros({rank_of(base, config), 1}, base.weight.value().options())),
      b(base.path() + ".lora_B", drawn_factor({base.out_features(), rank_of(base, config)}, base, generator)),
      dropout_(config.lora_dropout) {
  const auto first_rank = static_cast<double>(config.init_r);
  // As PEFT has it: a cut does not change the scale.
  scale_ = (config.lora_alpha > 0 ? config.lora_alpha : first_rank) / (first_rank + 1e-5);
  for (model::Parameter* parameter : parameters()) parameter->set_trainable(true);
}

at::Tensor AdaLoraSlot::forward(model::Linear& base, const at::Tensor& input, model::ForwardContext& context) {
  auto output = base.base_forward(input, context);
  const auto own_dropout = context.next_dropout(dropout_);
  if (e.value().numel() == 0) return output;
  const auto low = model::linear(model::dropout(input, own_dropout), a, nullptr, context);
  return model::linear(low * e.use().view({-1}), b, nullptr, context, scale_, output);
}

void AdaLoraSlot::merge_into(model::Linear& base) {
  base.weight.set_value(base.weight.value() + at::mm(b.value(), a.value() * e.value()).mul_(scale_));
}

at::Tensor AdaLoraSlot::kept_rows() const {
  return pattern.defined() ? pattern.logical_or(e.value().view({-1}) != 0) : pattern;
}

}  // namespace dtrain::peft
