#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/encoder.h"
#include "model/encoder_config.h"

namespace dtrain::model {

/// An encoder, a pooling, and a linear map to the classes: transformers' ...ForSequenceClassification.
///
/// It runs in stages: 0 the embeddings, 1..L the layers, L + 1 the head (after selecting or averaging the tokens, which
/// has no parameters and belongs to what is before it). What is below the first stage that trains can run once and be
/// kept.
class Classifier {
 public:
  /// With undefined values; load_classifier fills them.
  Classifier(EncoderConfig config, Pooling pooling, std::int64_t classes);

  /// Logits [examples, classes].
  at::Tensor forward(const TokenBatch& batch, ForwardContext& context);
  /// What stage `stage` takes, without gradients or dropout: [tokens, hidden] before a layer, [examples, hidden] before
  /// the head.
  at::Tensor run_prefix(const TokenBatch& batch, int stage, at::ScalarType product_type);
  /// Logits from what run_prefix returned for `stage`.
  at::Tensor forward_from(int stage, const at::Tensor& features, const TokenBatch& batch, ForwardContext& context);

  int stages() const { return encoder_->layers() + 2; }
  int head_stage() const { return encoder_->layers() + 1; }
  /// The first stage with a trainable parameter; head_stage() when none trains.
  int first_trainable_stage();

  const EncoderConfig& config() const { return config_; }
  Pooling pooling() const { return pooling_; }
  std::int64_t classes() const { return classes_; }
  Encoder& encoder() { return *encoder_; }

  /// All that the forward pass uses, slots included, in the order of the Hugging Face model.
  std::vector<Parameter*> parameters();
  /// Those of one stage.
  std::vector<Parameter*> stage_parameters(int stage);
  /// All that a Hugging Face directory holds: without slots, and with the pooler where it is loaded but not used.
  std::vector<Parameter*> stored_parameters();
  /// Every pretrained linear map below the classifier, in order: the encoder's, and the pooler where it is used.
  std::vector<Linear*> linears();

  /// BERT's pooler; undefined values where the checkpoint has none and the pooling needs none.
  Linear pooler;
  /// The checkpoint has no pooler, but the pooling needs one: it was drawn anew, and is part of the head, as the
  /// classifier is: every method trains it and saves it.
  bool pooler_is_new = false;
  Linear classifier;

 private:
  at::Tensor select(const at::Tensor& hidden, const TokenBatch& batch) const;
  at::Tensor run_stages(int first, int last, at::Tensor hidden, const TokenBatch& batch, ForwardContext& context);
  at::Tensor head(const at::Tensor& selected, ForwardContext& context);

  EncoderConfig config_;
  Pooling pooling_;
  std::int64_t classes_;
  std::unique_ptr<Encoder> encoder_;
};

}  // namespace dtrain::model
