#include "model/encoder_layer.h"

#include <ATen/ATen.h>

#include "model/attention.h"

namespace dtrain::model {
namespace {

at::Tensor end_sublayer(SublayerSlot* slot, const SublayerResult& result, LayerNorm& norm, ForwardContext& context) {
  return slot != nullptr ? slot->forward(result, norm, context)
                         : norm.forward(result.output, result.input, result.dropout);
}

}  // namespace

EncoderLayer::EncoderLayer(const EncoderConfig& config, const std::string& path, const LayerModules& modules)
    : query(path + modules.query, config.hidden_size, config.hidden_size),
      key(path + modules.key, config.hidden_size, config.hidden_size),
      value(path + modules.value, config.hidden_size, config.hidden_size),
      attention_output(path + modules.attention_output, config.hidden_size, config.hidden_size),
      attention_norm(path + modules.attention_norm, config.hidden_size, config.layer_norm_epsilon),
      intermediate(path + modules.intermediate, config.hidden_size, config.intermediate_size),
      output(path + modules.output, config.intermediate_size, config.hidden_size),
      output_norm(path + modules.output_norm, config.hidden_size, config.layer_norm_epsilon),
      heads_(config.heads),
      hidden_dropout_(config.hidden_dropout),
      attention_output_dropout_(config.attention_output_dropout),
      attention_dropout_(config.attention_dropout),
      activation_(config.activation) {}

at::Tensor EncoderLayer::forward(const at::Tensor& hidden, const TokenBatch& batch, ForwardContext& context) {
  const auto queries = query.forward(hidden, context);
  const auto keys = key.forward(hidden, context);
  const auto values = value.forward(hidden, context);
  const auto extra = attention_slot ? attention_slot->keys_and_values(hidden, batch, context) : KeysAndValues{};
  const auto attended =
      attention(queries, keys, values, batch, heads_, context.next_dropout(attention_dropout_), extra);
  context.count_attention(batch, queries.size(1), extra.keys.defined() ? extra.keys.size(1) : 0,
                          attended.requires_grad());
  const auto mixed = attention_output.forward(attended, context);
  const auto middle =
      end_sublayer(attention_output_slot.get(), {hidden, mixed, batch, context.next_dropout(attention_output_dropout_)},
                   attention_norm, context);
  const auto result = output.forward(activated(intermediate.forward(middle, context)), context);
  return end_sublayer(output_slot.get(), {middle, result, batch, context.next_dropout(hidden_dropout_)}, output_norm,
                      context);
}

std::vector<Linear*> EncoderLayer::linears() {
  return {&query, &key, &value, &attention_output, &intermediate, &output};
}

std::vector<Parameter*> EncoderLayer::own_parameters() {
  std::vector<Parameter*> parameters;
  const auto add = [&](auto& module) { parameters.insert(parameters.end(), {&module.weight, &module.bias}); };
  for (Linear* linear : {&query, &key, &value, &attention_output}) add(*linear);
  add(attention_norm);
  for (Linear* linear : {&intermediate, &output}) add(*linear);
  add(output_norm);
  return parameters;
}

std::vector<Parameter*> EncoderLayer::added_parameters() {
  std::vector<Parameter*> parameters;
  const auto add = [&](Slot* slot) {
    if (slot == nullptr) return;
    const auto added = slot->parameters();
    parameters.insert(parameters.end(), added.begin(), added.end());
  };
  for (Linear* linear : linears()) add(linear->slot.get());
  add(attention_slot.get());
  add(attention_output_slot.get());
  add(output_slot.get());
  return parameters;
}

at::Tensor EncoderLayer::activated(const at::Tensor& input) const {
  if (activation_ == "relu") return at::relu(input);
  return at::gelu(input, activation_ == "gelu_new" ? "tanh" : "none");
}

}  // namespace dtrain::model
