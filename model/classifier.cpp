#include "model/classifier.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "model/dropout.h"
#include "model/registry.h"
#include "model/stage_observer.h"

namespace dtrain::model {

Classifier::Classifier(EncoderConfig config, Pooling pooling, std::int64_t classes)
    : dense(family(config.model_type).head.dense, config.hidden_size, config.hidden_size),
      dense_is_head(!family(config.model_type).head.dense_is_pretrained),
      classifier(family(config.model_type).head.classifier, config.hidden_size, classes),
      config_(std::move(config)),
      head_(family(config_.model_type).head),
      pooling_(pooling),
      classes_(classes),
      encoder_(config_, family(config_.model_type).modules) {}

bool Classifier::uses_dense() const { return !head_.dense_is_pretrained || pooling_ == Pooling::pooler; }

at::Tensor Classifier::forward(const TokenBatch& batch, ForwardContext& context) {
  context.begin_pass(batch.ids.device());
  return head(run_stages(0, head_stage(), {}, batch, context), context);
}

at::Tensor Classifier::run_prefix(const TokenBatch& batch, int stage, at::ScalarType matmul_type) {
  ForwardContext context;
  context.matmul_type = matmul_type;
  return run_prefix(batch, stage, context);
}

at::Tensor Classifier::run_prefix(const TokenBatch& batch, int stage, ForwardContext& context) {
  const at::NoGradGuard no_grad;
  return run_stages(0, stage, {}, batch, context);
}

at::Tensor Classifier::forward_from(int stage, const at::Tensor& features, const TokenBatch& batch,
                                    ForwardContext& context) {
  context.begin_pass(batch.ids.device());
  return head(stage == head_stage() ? features : run_stages(stage, head_stage(), features, batch, context), context);
}

at::Tensor Classifier::run_stages(int first, int last, at::Tensor hidden, const TokenBatch& batch,
                                  ForwardContext& context) {
  const TokenBatch seen = encoder_.seen(batch);
  context.batch = &seen;
  for (int stage = first; stage < last; ++stage) {
    context.enter_stage(stage);
    hidden = stage == 0 ? encoder_.embed(seen, context) : encoder_.layer(stage - 1).forward(hidden, seen, context);
    if (context.observer != nullptr) context.observer->after_stage(stage, hidden, seen);
  }
  context.batch = nullptr;
  return last == head_stage() ? select(hidden, seen) : hidden;
}

at::Tensor Classifier::select(const at::Tensor& hidden, const TokenBatch& batch) const {
  return pooling_ == Pooling::mean ? mean_tokens(hidden, batch) : first_tokens(hidden, batch);
}

at::Tensor Classifier::head(const at::Tensor& selected, ForwardContext& context) {
  context.enter_stage(head_stage());
  const auto dropped = [&](const at::Tensor& input) {
    return dropout(input, context.next_dropout(config_.classifier_dropout));
  };
  auto pooled = selected;
  if (uses_dense()) {
    if (head_.dropout_before_dense) pooled = dropped(pooled);
    pooled = dense.forward(pooled, context);
    pooled = head_.activation == "relu" ? at::relu(pooled) : at::tanh(pooled);
  }
  const auto logits = classifier.forward(dropped(pooled), context);
  return logits.scalar_type() == at::kBFloat16 ? logits.to(at::kFloat) : logits;
}

void Classifier::replace_word_embeddings(const at::Tensor& values) {
  encoder_.replace_words(values);
  config_.vocabulary_size = values.size(0);
  config_.json["vocab_size"] = values.size(0);
  has_own_word_embeddings_ = true;
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
  std::vector<Parameter*> parameters;
  const auto add = [&](const std::vector<Parameter*>& more) {
    parameters.insert(parameters.end(), more.begin(), more.end());
  };
  if (stage == 0) {
    add(encoder_.embedding_parameters());
    if (encoder_.embedding_slot) add(encoder_.embedding_slot->parameters());
  } else if (stage < head_stage()) {
    add(encoder_.layer(stage - 1).own_parameters());
    add(encoder_.layer(stage - 1).added_parameters());
  } else {
    if (uses_dense()) {
      add({&dense.weight, &dense.bias});
      if (dense.slot) add(dense.slot->parameters());
    }
    add({&classifier.weight, &classifier.bias});
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
  auto stored = encoder_.embedding_parameters();
  for (int layer = 0; layer < encoder_.layers(); ++layer) {
    const auto parameters = encoder_.layer(layer).own_parameters();
    stored.insert(stored.end(), parameters.begin(), parameters.end());
  }
  if (dense.weight.value().defined()) stored.insert(stored.end(), {&dense.weight, &dense.bias});
  stored.insert(stored.end(), {&classifier.weight, &classifier.bias});
  return stored;
}

std::vector<Linear*> Classifier::linears() {
  std::vector<Linear*> all;
  for (int layer = 0; layer < encoder_.layers(); ++layer) {
    const auto linears = encoder_.layer(layer).linears();
    all.insert(all.end(), linears.begin(), linears.end());
  }
  if (uses_dense() && !dense_is_head) all.push_back(&dense);
  return all;
}

}  // namespace dtrain::model
