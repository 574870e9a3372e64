#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace dtrain::model {

class ModelWeights;

/// The head of a masked language model, as transformers' BertForMaskedLM, RobertaForMaskedLM and DistilBertForMaskedLM
/// compute it: a linear layer with its activation, a layer norm, and a linear layer to the vocabulary.
struct MaskedLmHead {
  at::Tensor dense_weight;    // [hidden, hidden]
  at::Tensor dense_bias;      // [hidden]
  at::Tensor norm_weight;     // [hidden]
  at::Tensor norm_bias;       // [hidden]
  at::Tensor decoder_weight;  // [vocabulary, hidden]
  at::Tensor decoder_bias;    // [vocabulary]
  double epsilon = 1e-12;
  std::string activation;

  /// The last layer's states [n, hidden] float -> logits [n, vocabulary].
  at::Tensor logits(const at::Tensor& hidden) const;
};

/// The head that the checkpoint in `directory` holds; nothing where it lacks a tensor of it. The decoder's weight is
/// that of the word embeddings where config.json ties them (`tie_word_embeddings`, true unless it says otherwise).
/// Throws InputError for a tensor of another shape. `weights`: those of the directory, where they are at hand.
std::optional<MaskedLmHead> load_masked_lm_head(const std::filesystem::path& directory, at::Device device,
                                                const std::shared_ptr<const ModelWeights>& weights = nullptr);

}  // namespace dtrain::model
