#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/batch_plan.h"
#include "dist/gradient_reducer.h"
#include "model/classifier.h"
#include "peft/training_hooks.h"
#include "train/examples.h"
#include "train/feature_cache.h"
#include "train/flat_parameters.h"
#include "train/options.h"
#include "train/run_context.h"
#include "train/sharding.h"
#include "train/value_gather.h"

namespace dtrain::train {

/// What every rank knows after the gradients of a step are summed.
struct StepOutcome {
  /// Mean loss over the global batch.
  double loss = 0;
  std::int64_t examples = 0;
  std::int64_t tokens = 0;
  /// Of the matmuls of all ranks, backward's with them; without what a method adds to the loss.
  double flop = 0;
  /// Whether a rank was asked to stop.
  bool stop_requested = false;
  /// Of this rank: forward and backward, without what they waited for in the gather; and then, until the gradients of
  /// all were summed.
  double compute_seconds = 0;
  double exchange_seconds = 0;
  /// compute_seconds of each rank.
  std::vector<double> compute_seconds_of_ranks;
};

/// One global batch, from example ids to the summed gradient in the flat buffer.
///
/// Loss: the objective's, summed over the rank's examples and divided by the global count (Objective::loss_divisor), so
/// that the sum over the ranks is the gradient of the global mean, whatever the shares. Nothing is scaled after the
/// exchange, and no sum on the way is larger than its terms are together, whatever the options' format there.
class TrainingStep {
 public:
  /// `hooks` may be null. Collective, and throws OutOfMemoryError as `run` does.
  TrainingStep(model::Classifier& classifier, FlatParameters& parameters, const TrainOptions& options,
               const Examples& examples, const RunContext& context, FeatureStore& features,
               peft::TrainingHooks* hooks = nullptr);
  ~TrainingStep();
  TrainingStep(const TrainingStep&) = delete;
  TrainingStep& operator=(const TrainingStep&) = delete;

  /// Collective. Throws on every rank NotFiniteError, where the loss is not finite, and OutOfMemoryError, where the
  /// memory of one ran out in the forward or the backward pass.
  StepOutcome run(std::int64_t step);

  /// Which examples a step trains on, for messages: the first of them.
  std::string batch_text(std::int64_t step) const;

  /// Who has the summed gradients, and so who may update what.
  const Sharding& sharding() const { return sharding_; }
  /// Through which a sharded optimiser may leave values under way: whoever reads a model::Parameter while this lives
  /// waits for them, and only `run` begins without. To be waited for before the flat values are read.
  ValueGather& gather() { return gather_; }
  std::int64_t steps_per_epoch() const { return plan_.steps_per_epoch(); }
  /// Payload of the gradient reduction of this rank in the last step (0 at one rank): what is handed to the back end,
  /// or with virtual ranks the gradient that the tree over the shards passes on.
  std::int64_t allreduce_bytes() const;
  /// What the features of the frozen part cost an earlier run, which made them for this one, too; 0 where this one did.
  double spared_seconds() const { return spared_seconds_; }
  /// What this rank's features of the frozen part took, whoever made them.
  double prefix_flop() const { return cache_ == nullptr ? 0 : cache_->flop().total(); }

 private:
  std::vector<std::int64_t> share(const std::vector<std::int64_t>& batch, int shard) const;
  /// "the first numbers that are not finite are those of layer 2 of 12", of any rank's share of a step's examples:
  /// what the weights make of them without dropout. Collective.
  std::string not_finite_text(std::int64_t step);
  /// Forward and backward of this rank's shards; returns their loss. Losses are summed where they are, in double: read
  /// once a step, as the host waits for a GPU then. Undefined: nothing was computed.
  at::Tensor run_shards(const std::vector<std::int64_t>& batch, std::int64_t step, double divisor);
  /// Makes the gradients zero that nothing was written to.
  void clear_unwritten();
  /// Sums the gradients of lookup tables over the ranks.
  void reduce_tables();
  /// Backward of what the method adds to the loss; returns it.
  at::Tensor run_loss_term();
  /// Forward and backward over a shard's examples; returns the summed loss over the global divisor.
  at::Tensor run_shard(const std::vector<std::int64_t>& ids, std::int64_t step, int shard, double divisor);

  model::Classifier& classifier_;
  FlatParameters& parameters_;
  TrainOptions options_;
  const Examples& examples_;
  const RunContext& context_;
  const Objective& objective_;
  Loss loss_;
  peft::TrainingHooks* hooks_;
  data::BatchPlan plan_;
  int first_trainable_stage_;
  int shards_;
  int first_shard_;
  int shards_of_rank_;
  std::shared_ptr<const FeatureCache> cache_;
  double spared_seconds_ = 0;
  Sharding sharding_;
  ValueGather gather_;
  at::Tensor shard_gradients_;  // [shards of this rank, n and padding] with virtual ranks
  std::unique_ptr<dist::GradientReducer> reducer_;
  std::int64_t table_bytes_ = 0;  // handed to the back end in the last step
  bool last_backward_ = false;
  bool joins_gather_ = false;  // whether who reads a value goes on in the order of the stream
  model::FlopCount flop_;      // of this rank's step
};

}  // namespace dtrain::train
