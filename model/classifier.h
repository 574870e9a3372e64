#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/problem_type.h"
#include "model/encoder.h"
#include "model/encoder_config.h"
#include "model/registry.h"

namespace dtrain::model {

/// An encoder, a pooling, and a head to the classes: transformers' ...ForSequenceClassification.
///
/// It runs in stages: 0 the embeddings, 1..L the layers, L + 1 the head (after selecting or averaging the tokens, which
/// has no parameters and belongs to what is before it). What is below the first stage that trains can run once and be
/// kept. ForwardContext::observer is shown the states in between.
class Classifier {
 public:
  /// With undefined values; load_classifier fills them.
  Classifier(EncoderConfig config, Pooling pooling, std::int64_t classes);

  /// Logits [examples, classes].
  at::Tensor forward(const TokenBatch& batch, ForwardContext& context);
  /// What stage `stage` takes, without gradients or dropout: [tokens, hidden] before a layer, [examples, hidden] before
  /// the head.
  at::Tensor run_prefix(const TokenBatch& batch, int stage, at::ScalarType matmul_type);
  /// The same in a context of the caller's, which counts it.
  at::Tensor run_prefix(const TokenBatch& batch, int stage, ForwardContext& context);
  /// Logits from what run_prefix returned for `stage`.
  at::Tensor forward_from(int stage, const at::Tensor& features, const TokenBatch& batch, ForwardContext& context);

  int stages() const { return encoder_.layers() + 2; }
  int head_stage() const { return encoder_.layers() + 1; }
  /// The first stage with a trainable parameter; head_stage() when none trains.
  int first_trainable_stage();

  const EncoderConfig& config() const { return config_; }
  Pooling pooling() const { return pooling_; }
  std::int64_t classes() const { return classes_; }
  Encoder& encoder() { return encoder_; }
  /// Puts other word embeddings [tokens, hidden] in the place of the checkpoint's, with as many tokens as they have:
  /// those of an adapter whose vocabulary was resized.
  void replace_word_embeddings(const at::Tensor& values);
  /// Whether that was done: they are no part of the checkpoint, and go where what was trained goes.
  bool has_own_word_embeddings() const { return has_own_word_embeddings_; }

  /// All that the forward pass uses, slots included, in the order of the Hugging Face model.
  std::vector<Parameter*> parameters();
  /// Those of one stage.
  std::vector<Parameter*> stage_parameters(int stage);
  /// What the pretrained checkpoint and the head hold, in the order of the Hugging Face model: all that a Hugging Face
  /// directory holds: without slots, and with the pooler where it is loaded but not used.
  std::vector<Parameter*> stored_parameters();
  /// Every pretrained linear layer, in order: the encoder's, and BERT's pooler where it is used.
  std::vector<Linear*> linears();
  /// Whether the head computes with `dense`.
  bool uses_dense() const;

  /// BERT's pooler, or the first linear layer of a head of two (HeadModules); undefined values where the checkpoint has
  /// none and the pooling needs none.
  Linear dense;
  /// `dense` is part of the head, as `classifier` is: every method trains it and saves it. So in a family that says so,
  /// and for a pooler that the checkpoint did not have and that was drawn anew.
  bool dense_is_head = false;
  Linear classifier;

  /// What the logits are; config.json of what is saved says it.
  ProblemType problem_type = ProblemType::single_label_classification;

 private:
  at::Tensor select(const at::Tensor& hidden, const TokenBatch& batch) const;
  at::Tensor run_stages(int first, int last, at::Tensor hidden, const TokenBatch& batch, ForwardContext& context);
  at::Tensor head(const at::Tensor& selected, ForwardContext& context);

  EncoderConfig config_;
  const HeadModules& head_;
  Pooling pooling_;
  std::int64_t classes_;
  Encoder encoder_;
  bool has_own_word_embeddings_ = false;
};

}  // namespace dtrain::model
