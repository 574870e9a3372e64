#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/encoder_config.h"
#include "model/encoder_layer.h"
#include "model/forward_context.h"
#include "model/norm.h"
#include "model/parameter.h"
#include "model/slots.h"
#include "model/token_batch.h"

namespace dtrain::model {

/// The paths of an encoder's modules, as a family of Hugging Face models calls them.
struct EncoderModules {
  std::string word_embeddings;
  std::string position_embeddings;
  /// Empty where the family tells no segments apart.
  std::string token_type_embeddings;
  std::string embedding_norm;
  /// Before the layer's number; LayerModules' begin with a dot.
  std::string layer;
  LayerModules layer_modules;
};

/// A pretrained post-norm Transformer encoder: BERT's (Devlin et al., 2019) and those that share its computation, which
/// differ in names and in their embeddings. Values of its parameters are undefined until they are loaded.
class Encoder {
 public:
  Encoder(const EncoderConfig& config, const EncoderModules& modules);

  int layers() const { return static_cast<int>(layers_.size()); }
  EncoderLayer& layer(int index) { return *layers_[static_cast<std::size_t>(index)]; }

  /// The batch as the encoder sees it: with the virtual tokens of the embedding slot, if there is one.
  TokenBatch seen(const TokenBatch& batch) const;
  /// Of what `seen` returned -> [tokens, hidden].
  at::Tensor embed(const TokenBatch& batch, ForwardContext& context);

  /// The word, position and type embeddings and their norm, without the slot's.
  std::vector<Parameter*> embedding_parameters();
  LayerNorm& embedding_norm() { return norm_; }

  /// Puts other word embeddings [tokens, hidden] in the place of the model's own.
  void replace_words(const at::Tensor& values);

  std::unique_ptr<EmbeddingSlot> embedding_slot;
  /// Added to every position: what keys of a method's own (prefix tuning) stand before the text take up.
  std::int64_t position_shift = 0;

 private:
  EncoderConfig config_;
  Parameter words_;
  Parameter positions_;
  std::optional<Parameter> types_;
  LayerNorm norm_;
  std::vector<std::unique_ptr<EncoderLayer>> layers_;
};

}  // namespace dtrain::model
