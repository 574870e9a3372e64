#include "study/states/stage_features.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <set>

#include "data/batch_plan.h"
#include "model/stage_observer.h"
#include "train/compute_apart.h"
#include "train/evaluation.h"

namespace dtrain::study {
namespace {

using Kept = std::map<model::Pooling, std::vector<at::Tensor>>;

// Writes the pooled states of a batch to the rows from `row` on.
class PooledStates final : public model::StageObserver {
 public:
  explicit PooledStates(Kept& kept) : kept_(kept) {}

  void after_stage(int stage, const at::Tensor& hidden, const model::TokenBatch& batch) override {
    for (auto& [pooling, stages] : kept_) {
      const auto pooled =
          pooling == model::Pooling::mean ? model::mean_tokens(hidden, batch) : model::first_tokens(hidden, batch);
      stages[static_cast<std::size_t>(stage)].narrow(0, row, batch.examples()).copy_(pooled);
    }
  }

  std::int64_t row = 0;

 private:
  Kept& kept_;
};

}  // namespace

std::vector<model::Pooling> known_poolings(model::Classifier& classifier) {
  std::vector<model::Pooling> poolings = {model::Pooling::cls, model::Pooling::mean};
  if (!classifier.dense_is_head && classifier.dense.weight.value().defined())
    poolings.push_back(model::Pooling::pooler);
  return poolings;
}

StageFeatures::StageFeatures(model::Classifier& classifier, const train::Examples& examples,
                             const std::vector<model::Pooling>& poolings, const char* what,
                             const train::RunContext& context) {
  const at::NoGradGuard no_grad;
  const auto batches = data::evaluation_batches(examples.lengths(), train::evaluation_tokens(context.device));
  train::Batches mine;
  std::vector<std::int64_t> ids;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    if (static_cast<int>(i) % context.control.size() != context.control.rank()) continue;
    mine.push_back(batches[i]);
    ids.insert(ids.end(), batches[i].begin(), batches[i].end());
  }
  ids_ = at::tensor(ids, at::kLong);
  const auto rows = static_cast<std::int64_t>(ids.size());
  for (const model::Pooling pooling : poolings) {
    if (pooling == model::Pooling::pooler) {
      pooler_weight_ = classifier.dense.weight.value().to(at::kCPU, at::kFloat);
      pooler_bias_ = classifier.dense.bias.value().to(at::kCPU, at::kFloat);
    }
    auto& stages = kept_[pooling == model::Pooling::mean ? pooling : model::Pooling::cls];
    if (!stages.empty()) continue;
    for (int stage = 0; stage < classifier.head_stage(); ++stage)
      stages.push_back(at::empty({rows, classifier.config().hidden_size}));
  }
  PooledStates states(kept_);
  train::compute_apart(context, [&] {
    for (const auto& batch_ids : mine) {
      context.end_if_stopped();
      const auto batch = examples.collate(batch_ids, context.device);
      model::ForwardContext forward;
      forward.matmul_type = context.matmul_type;
      forward.observer = &states;
      classifier.forward(batch, forward);
      states.row += batch.examples();
      context.log.progress(fmt::format("states of {}: {} of {} examples", what, states.row, rows));
    }
  });
  context.log.progress("");
}

at::Tensor StageFeatures::gather(int stage, model::Pooling pooling, dist::Communicator& control) const {
  const at::NoGradGuard no_grad;
  if (pooling == model::Pooling::pooler && !pooler_weight_.defined())
    throw std::out_of_range("StageFeatures: the pooler was not asked for");
  const auto& stages = kept_.at(pooling == model::Pooling::mean ? pooling : model::Pooling::cls);
  const auto ids = control.all_gather(ids_);
  const auto rows = control.all_gather(stages.at(static_cast<std::size_t>(stage)));
  auto features = at::empty_like(rows).index_copy_(0, ids, rows);
  // Of all rows at once: a matmul's bits may depend on how many there are.
  return pooling == model::Pooling::pooler ? at::tanh(at::linear(features, pooler_weight_, pooler_bias_)) : features;
}

}  // namespace dtrain::study
