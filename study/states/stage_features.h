#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <vector>

#include "model/classifier.h"
#include "model/pooling.h"
#include "train/examples.h"
#include "train/run_context.h"

namespace dtrain::study {

/// The poolings that a model has a meaning for: cls, mean, and pooler where its checkpoint holds a pretrained one.
std::vector<model::Pooling> known_poolings(model::Classifier& classifier);

/// What every stage of a model makes of examples, pooled, from one forward pass: stage 0 are the embeddings, 1..L the
/// layers. A rank computes and keeps its share of batches that are fixed by the lengths (train::evaluation.h), so that
/// the rows do not depend on the number of ranks.
class StageFeatures {
 public:
  /// Collective. Without gradients and dropout, in the context's type of matmuls; `what` names the examples on the line
  /// of progress. Keeps, as float on the host, stages * poolings rows of hidden_size for each example of the share; the
  /// pooler's are made of cls when they are asked for.
  StageFeatures(model::Classifier& classifier, const train::Examples& examples,
                const std::vector<model::Pooling>& poolings, const char* what, const train::RunContext& context);

  int stages() const { return static_cast<int>(kept_.begin()->second.size()); }

  /// Collective. [examples, hidden] float on the host of every rank, in the order of the examples. The pooler is
  /// BERT's: tanh of a linear layer of the first token, which was trained on the last layer. Throws std::out_of_range
  /// for what was not asked for.
  at::Tensor gather(int stage, model::Pooling pooling, dist::Communicator& control) const;

 private:
  std::map<model::Pooling, std::vector<at::Tensor>> kept_;  // by stage
  at::Tensor ids_;                                          // of the share's rows
  at::Tensor pooler_weight_;
  at::Tensor pooler_bias_;
};

}  // namespace dtrain::study
