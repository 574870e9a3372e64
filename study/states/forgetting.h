#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/classifier.h"
#include "model/masked_lm_head.h"
#include "train/examples.h"
#include "train/run_context.h"

namespace dtrain::study {

/// What a model is asked about before and after training. Sets may be empty: nothing is measured on them then.
struct ForgettingMaterial {
  /// General text, of no task; their targets are not read. Two at least, or none.
  train::Examples retain;
  /// The id that hides a token, for the masked-language-model loss; unset: the tokenizer has none.
  std::optional<std::int64_t> mask_token;
  /// Query i has answer i among all answers.
  train::Examples queries;
  train::Examples answers;
  /// Where the checkpoint of the base model is: its masked-language-model head is read from there.
  std::filesystem::path base_directory;
  /// Those of that checkpoint, where they are at hand (model::LoadOptions::weights); null: they are read.
  std::shared_ptr<const model::ModelWeights> base_weights = nullptr;
  /// Of the content of all texts: measures of other ones do not compare.
  std::string digest = {};
};

/// Which of a text's tokens are hidden: 15 % of those between its first and its last (BERT's [CLS] and [SEP]), at least
/// one where there is one; the same for every model. Places within the text, ascending.
std::vector<std::int64_t> masked_places(std::int64_t example, std::int64_t length);

/// Measures what a pretrained body could do before training and can still do afterwards, with what a method added
/// active. What the base model makes of the material is computed once.
class ForgettingProbe {
 public:
  /// Collective. `base`: the pretrained model as loaded, without a method.
  ForgettingProbe(model::Classifier& base, ForgettingMaterial material, const train::RunContext& context);

  /// Collective; the same on every rank, whatever their number. Of the retained text:
  /// - "cka": linear CKA of the trained and the base model's mean-pooled states, the mean over the layers 1..L, and
  ///   "cka_last" of the last one: 1 where nothing moved but by a rotation and a scale;
  /// - "similarity_agreement": Spearman's correlation of the cosines of all pairs of texts, by the mean-pooled last
  /// layer;
  /// - "mlm_loss" and "mlm_loss_before": mean cross-entropy of the hidden tokens through the base checkpoint's own
  /// head,
  ///   where it has one. Every one of the chosen tokens is replaced by the mask token.
  /// Of queries and answers: "mrr" and "mrr_before", the mean reciprocal rank of the right answer by the cosine of the
  /// mean-pooled last layer. Where a method adds virtual tokens, means are over theirs, too.
  std::map<std::string, double> measure(model::Classifier& trained, const train::RunContext& context) const;

 private:
  double masked_loss(model::Classifier& classifier, const train::RunContext& context) const;
  double reciprocal_rank(model::Classifier& classifier, const train::RunContext& context) const;

  ForgettingMaterial material_;
  std::optional<model::MaskedLmHead> head_;
  std::vector<at::Tensor> base_states_;  // by stage, [texts, hidden] float
  at::Tensor base_similarities_;
  double base_masked_loss_ = 0;
  double base_reciprocal_rank_ = 0;
};

}  // namespace dtrain::study
