#include "model/classifier.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "model/dropout.h"
#include "model/registry.h"

namespace dtrain::model {

Classifier::Classifier(EncoderConfig config, Pooling pooling, std::int64_t classes)
    : pooler(family(config.model_type).prefix + "pooler.dense", config.hidden_size, config.hidden_size),
      classifier("classifier", config.hidden_size, classes),
      config_(std::move(config)),
      pooling_(pooling),
      classes_(classes),
      encoder_(family(config_.model_type).make_encoder(config_)) {}

at::Tensor Classifier::forward(const TokenBatch& batch, ForwardContext& context) {
  return head(run_stages(0, head_stage(), {}, batch, context), context);
}

at::Tensor Classifier::run_prefix(const TokenBatch& batch, int stage, at::ScalarType product_type) {
  const at::NoGradGuard no_grad;
  ForwardContext context;
  context.product_type = product_type;
  return run_stages(0, stage, {}, batch, context);
}

at::Tensor Classifier::forward_from(int stage, const at::Tensor& features, const TokenBatch& batch,
                                    ForwardContext& context) {
  return head(stage == head_stage() ? features : run_stages(stage, head_stage(), features, batch, context), context);
}

at::Tensor Classifier::run_stages(int first, int last, at::Tensor hidden, const TokenBatch& batch,
                                  ForwardContext& context) {
  for (int stage = first; stage < last; ++stage) {
    context.enter_stage(stage);
    hidden = stage == 0 ? encoder_->embed(batch, context) : encoder_->run_layer(stage - 1, hidden, batch, context);
  }
  return last == head_stage() ? select(hidden, batch) : hidden;
}

at::Tensor Classifier::select(const at::Tensor& hidden, const TokenBatch& batch) const {
  return pooling_ == Pooling::mean ? mean_tokens(hidden, batch) : first_tokens(hidden, batch);
}

at::Tensor Classifier::head(const at::Tensor& selected, ForwardContext& context) {
  context.enter_stage(head_stage());
  auto pooled = pooling_ == Pooling::pooler ? at::tanh(pooler.forward(selected, context)) : selected;
  pooled = dropout(pooled, context.next_dropout(config_.classifier_dropout));
  const auto logits = classifier.forward(pooled, context);
  return logits.scalar_type() == at::kBFloat16 ? logits.to(at::kFloat) : logits;
}

int Classifier::first_trainable_stage() {
  for (int stage = 0; stage < stages(); ++stage) {
    const auto parameters = stage_parameters(stage);
    if (std::any_of(parameters.begin(), parameters.end(), [](const Parameter* p) { return p->trainable(); }))
      return stage;
  }
  return head_stage();
}

std::vector<Parameter*> Classifier::stage_parameters(int stage) {
  if (stage == 0) return encoder_->embedding_parameters();
  std::vector<Parameter*> parameters;
  std::vector<Linear*> linears;
  if (stage == head_stage()) {
    if (pooling_ == Pooling::pooler) {
      parameters = {&pooler.weight, &pooler.bias};
      linears = {&pooler};
    }
    parameters.insert(parameters.end(), {&classifier.weight, &classifier.bias});
    linears.push_back(&classifier);
  } else {
    parameters = encoder_->layer_parameters(stage - 1);
    linears = encoder_->layer_linears(stage - 1);
  }
  for (const Linear* linear : linears) {
    if (linear->slot == nullptr) continue;
    const auto added = linear->slot->parameters();
    parameters.insert(parameters.end(), added.begin(), added.end());
  }
  return parameters;
}

std::vector<Parameter*> Classifier::parameters() {
  std::vector<Parameter*> all;
  for (int stage = 0; stage < stages(); ++stage) {
    const auto parameters = stage_parameters(stage);
    all.insert(all.end(), parameters.begin(), parameters.end());
  }
  return all;
}

std::vector<Parameter*> Classifier::stored_parameters() {
  auto stored = encoder_->embedding_parameters();
  for (int layer = 0; layer < encoder_->layers(); ++layer) {
    const auto parameters = encoder_->layer_parameters(layer);
    stored.insert(stored.end(), parameters.begin(), parameters.end());
  }
  if (pooler.weight.value().defined()) stored.insert(stored.end(), {&pooler.weight, &pooler.bias});
  stored.insert(stored.end(), {&classifier.weight, &classifier.bias});
  return stored;
}

std::vector<Linear*> Classifier::linears() {
  std::vector<Linear*> all;
  for (int layer = 0; layer < encoder_->layers(); ++layer) {
    const auto linears = encoder_->layer_linears(layer);
    all.insert(all.end(), linears.begin(), linears.end());
  }
  if (pooling_ == Pooling::pooler && !pooler_is_new) all.push_back(&pooler);
  return all;
}

}  // namespace dtrain::model
