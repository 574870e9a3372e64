#include "model/encoder.h"

#include <ATen/ATen.h>

#include "model/dropout.h"
#include "model/embedding.h"

namespace dtrain::model {

Encoder::Encoder(const EncoderConfig& config, const EncoderModules& modules)
    : config_(config),
      words_(modules.word_embeddings + ".weight", {config.vocabulary_size, config.hidden_size}),
      positions_(modules.position_embeddings + ".weight", {config.max_positions, config.hidden_size}),
      norm_(modules.embedding_norm, config.hidden_size, config.layer_norm_epsilon) {
  if (!modules.token_type_embeddings.empty()) {
    types_.emplace(modules.token_type_embeddings + ".weight",
                   std::vector<std::int64_t>{config.token_types, config.hidden_size});
  }
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    layers_.push_back(
        std::make_unique<EncoderLayer>(config, modules.layer + std::to_string(layer), modules.layer_modules));
  }
}

TokenBatch Encoder::seen(const TokenBatch& batch) const {
  TokenBatch seen = embedding_slot ? with_virtual_tokens(batch, embedding_slot->virtual_tokens()) : batch;
  const std::int64_t first = config_.first_position + position_shift;
  if (first != 0) seen.positions = seen.positions + first;
  // A model of one token type does not tell the segments of a pair apart.
  if (config_.token_types == 1) seen.types = at::zeros_like(seen.types);
  return seen;
}

at::Tensor Encoder::embed(const TokenBatch& batch, ForwardContext& context) {
  const auto virtual_words = embedding_slot ? embedding_slot->embeddings(context) : at::Tensor();
  const auto sum = embed_tokens(batch, words_, positions_, types_ ? &*types_ : nullptr, virtual_words);
  // BERT drops after this norm, not before it.
  return dropout(norm_.forward(sum, {}, {}), context.next_dropout(config_.hidden_dropout));
}

std::vector<Parameter*> Encoder::embedding_parameters() {
  std::vector<Parameter*> parameters = {&words_, &positions_};
  if (types_) parameters.push_back(&*types_);
  parameters.insert(parameters.end(), {&norm_.weight, &norm_.bias});
  return parameters;
}

}  // namespace dtrain::model
