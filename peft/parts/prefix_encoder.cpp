#include "peft/parts/prefix_encoder.h"

#include <ATen/ATen.h>

namespace dtrain::peft {

PrefixEncoder::PrefixEncoder(std::int64_t virtual_tokens, std::int64_t layers, std::int64_t hidden_size,
                             std::optional<std::int64_t> projection_size, const Names& names,
                             const at::TensorOptions& options, at::Generator& generator)
    : layers_(layers),
      hidden_size_(hidden_size),
      embedding_(names.embedding,
                 draw_embedding(virtual_tokens, projection_size ? hidden_size : 2 * layers * hidden_size, options,
                                generator)) {
  embedding_.set_trainable(true);
  if (!projection_size) return;
  first_linear_ = std::make_unique<PromptLinear>(names.first_linear, *projection_size, hidden_size, options, generator);
  second_linear_ = std::make_unique<PromptLinear>(names.second_linear, 2 * layers * hidden_size, *projection_size,
                                                  options, generator);
}

at::Tensor PrefixEncoder::keys_and_values(model::ForwardContext& context) {
  const auto embedded = embedding_.use();
  if (!first_linear_) return embedded;
  return second_linear_->forward(at::tanh(first_linear_->forward(embedded, context)), context);
}

model::KeysAndValues PrefixEncoder::of_layer(std::int64_t index, std::int64_t examples,
                                             model::ForwardContext& context) {
  if (index == 0) {
    const auto all = keys_and_values(context);
    current_ = all.view({all.size(0), 2 * layers_, hidden_size_}).unbind(1);
  }
  const auto of_examples = [&](std::int64_t place) {
    const auto& rows = current_[static_cast<std::size_t>(place)];
    return rows.unsqueeze(0).expand({examples, rows.size(0), hidden_size_});
  };
  model::KeysAndValues part{of_examples(2 * index), of_examples(2 * index + 1)};
  // The graph of this pass must not outlive it.
  if (index == layers_ - 1) current_.clear();
  return part;
}

std::vector<model::Parameter*> PrefixEncoder::parameters() {
  if (!first_linear_) return {&embedding_};
  return {&embedding_, &first_linear_->weight, &first_linear_->bias, &second_linear_->weight, &second_linear_->bias};
}

model::KeysAndValues PrefixSlot::keys_and_values(const at::Tensor&, const model::TokenBatch& batch,
                                                 model::ForwardContext& context) {
  return encoder_->of_layer(index_, batch.examples(), context);
}

std::vector<model::Parameter*> PrefixSlot::parameters() {
  return index_ == 0 ? encoder_->parameters() : std::vector<model::Parameter*>{};
}

}  // namespace dtrain::peft
