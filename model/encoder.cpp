#include "model/encoder.h"

#include <ATen/ATen.h>

#include <utility>

#include "model/dropout.h"
#include "model/embedding.h"

namespace dtrain::model {
namespace {

// For each token of an example the padding tokens up to it, and whether it is one, int64 [tokens].
std::pair<at::Tensor, at::Tensor> padding_so_far(const TokenBatch& batch, std::int64_t padding_token) {
  const auto padding = batch.ids.eq(padding_token);
  const auto so_far = padding.cumsum(0);
  const auto lengths = at::cat({batch.offsets.diff(), at::full({1}, batch.tokens() - batch.used_tokens(), at::kLong)});
  const auto device = so_far.device();
  const auto of_earlier = at::cat({so_far.new_zeros({1}), so_far}).index_select(0, on_device(batch.offsets, device));
  return {so_far - of_earlier.repeat_interleave(on_device(lengths, device), std::nullopt, batch.tokens()), padding};
}

}  // namespace

Encoder::Encoder(const EncoderConfig& config, const EncoderModules& modules)
    : config_(config),
      words_(modules.word_embeddings + ".weight", {config.vocabulary_size, config.hidden_size}),
      positions_(modules.position_embeddings + ".weight", {config.max_positions, config.hidden_size}),
      norm_(modules.embedding_norm, config.hidden_size, config.layer_norm_epsilon) {
  if (!modules.token_type_embeddings.empty()) {
    types_.emplace(modules.token_type_embeddings + ".weight",
                   std::vector<std::int64_t>{config.token_types, config.hidden_size});
  }
  words_.set_lookup_table();
  if (config.padding_token >= 0) words_.set_padding_row(config.padding_token);
  if (config.first_position > 0) positions_.set_padding_row(config.padding_token);
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    layers_.push_back(
        std::make_unique<EncoderLayer>(config, modules.layer + std::to_string(layer), modules.layer_modules));
  }
}

TokenBatch Encoder::seen(const TokenBatch& batch) const {
  TokenBatch seen = embedding_slot ? with_virtual_tokens(batch, embedding_slot->virtual_tokens()) : batch;
  const std::int64_t first = config_.first_position + position_shift;
  if (first != 0) seen.positions = seen.positions + first;
  // Where virtual tokens stand in front, transformers sees embeddings, not ids.
  if (config_.first_position > 0 && !embedding_slot) {
    const auto [so_far, padding] = padding_so_far(batch, config_.padding_token);
    seen.positions = at::where(padding, config_.padding_token, seen.positions - so_far);
  }
  // A model of one token type does not tell the segments of a pair apart.
  if (config_.token_types == 1) seen.types = at::zeros_like(seen.types);
  if (!seen.ids.is_cpu()) {
    seen.sequences =
        device_sequences(seen.offsets, seen.max_length, seen.tokens() - seen.used_tokens(), seen.ids.device());
  }
  return seen;
}

at::Tensor Encoder::embed(const TokenBatch& batch, ForwardContext& context) {
  const auto virtual_words = embedding_slot ? embedding_slot->embeddings(context) : at::Tensor();
  const auto sum = embed_tokens(batch, words_, positions_, types_ ? &*types_ : nullptr, virtual_words);
  // BERT drops after this norm, not before it.
  return dropout(norm_.forward(sum, {}, {}), context.next_dropout(config_.hidden_dropout));
}

void Encoder::replace_words(const at::Tensor& values) {
  words_.set_value(values);
  config_.vocabulary_size = values.size(0);
}

std::vector<Parameter*> Encoder::embedding_parameters() {
  std::vector<Parameter*> parameters = {&words_, &positions_};
  if (types_) parameters.push_back(&*types_);
  parameters.insert(parameters.end(), {&norm_.weight, &norm_.bias});
  return parameters;
}

}  // namespace dtrain::model
