#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "dist/wire_format.h"
#include "model/pooling.h"
#include "peft/method.h"
#include "train/objective.h"

namespace dtrain::train {

/// Whether each rank keeps and updates a share of the optimiser's state alone (Sharding).
enum class ShardOptimizer {
  /// On CPUs, from 4 Mi parameters on.
  automatic,
  on,
  off,
};

/// How one model is trained. The defaults are dtrain's (docs/architecture.md says why).
struct TrainOptions {
  peft::MethodSpec method{"full", {}};
  /// What the targets are, and what the loss is besides its plain form.
  ProblemType problem_type = ProblemType::single_label_classification;
  LossOptions loss;
  /// Unset: the middle of the method's grid.
  std::optional<double> learning_rate;
  double epochs = 3;
  /// Small data still gets as many steps, in more epochs.
  std::int64_t min_steps = 100;
  /// Unset: by epochs.
  std::optional<std::int64_t> max_steps;
  /// Examples of one optimiser step, over all ranks.
  std::int64_t batch_size = 32;
  /// Examples a rank computes at once; 0: its whole share (gradient accumulation otherwise).
  std::int64_t micro_batch_size = 0;
  std::uint64_t seed = 0;
  /// 0: off; else results are the same bytes on every number of ranks that divides it.
  int virtual_ranks = 0;

  double weight_decay = 0.01;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double warmup_ratio = 0.06;
  double max_gradient_norm = 1.0;

  /// What the best step is chosen by on dev: one of the objective's metrics.
  std::string select_metric = "log_loss";
  /// How often dev is scored at most, besides at the end of each phase.
  std::int64_t most_evaluations = 5;
  /// Training ends after so many evaluations of dev in a row that were no better (transformers'
  /// early_stopping_patience); 0: never.
  std::int64_t patience = 0;
  /// Bytes of frozen features kept in memory.
  std::int64_t cache_memory = 0;
  /// A checkpoint every so many steps; 0: only on a signal.
  std::int64_t save_steps = 0;
  std::int64_t log_steps = 10;

  /// Bytes of gradients reduced at once.
  std::int64_t bucket_bytes = 4 << 20;
  /// Start a bucket's reduction while backward goes on, and let the next forward pass begin while a sharded optimiser's
  /// values are gathered.
  bool overlap = true;
  /// What gradients travel as; without virtual ranks alone, whose sums are in float.
  dist::WireFormat reduce_format = dist::WireFormat::fp32;
  ShardOptimizer shard_optimizer = ShardOptimizer::automatic;
};

/// The learning rate the options name, or the method's default.
double learning_rate_of(const TrainOptions& options);

}  // namespace dtrain::train
