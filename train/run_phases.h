#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "peft/method.h"
#include "train/feature_cache.h"
#include "train/flat_parameters.h"
#include "train/optimizer.h"
#include "train/options.h"
#include "train/run_context.h"
#include "train/training_step.h"

namespace dtrain::train {

/// The phases of one run (peft::Phase), one after the other: each with its trainable parameters, optimiser and
/// learning-rate schedule. A run of a method without phases is one.
class RunPhases {
 public:
  /// Enters the first. All but `classifier` and `hooks`, which may be null, are only read.
  RunPhases(const peft::Method& method, model::Classifier& classifier, const Examples& examples,
            const TrainOptions& options, const RunContext& context, FeatureStore& features, peft::TrainingHooks* hooks);

  /// Of the present phase; the values are those of the last step, from every rank.
  const FlatParameters& parameters() const {
    present_->step.gather().wait();
    return present_->parameters;
  }
  TrainingStep& step() { return present_->step; }
  AdamW& optimizer() { return present_->optimizer; }
  const AdamW& optimizer() const { return present_->optimizer; }
  std::int64_t begin() const { return index_ == 0 ? 0 : ends_[index_ - 1]; }
  std::int64_t end() const { return ends_[index_]; }
  bool is_last() const { return index_ + 1 == ends_.size(); }
  /// Of the run's step `position`, from 0, in the present phase.
  double learning_rate(std::int64_t position) const;

  /// Goes on to the next phase. Returns `kept`, values under the parameters of the phase that ends (undefined: none),
  /// under those of the next.
  at::Tensor enter_next(const at::Tensor& kept);

  /// TrainingStep::spared_seconds of all phases so far.
  double spared_seconds() const { return spared_seconds_ + present_->step.spared_seconds(); }
  /// TrainingStep::prefix_flop of all phases so far.
  double prefix_flop() const { return prefix_flop_ + present_->step.prefix_flop(); }

 private:
  struct Phase {
    Phase(RunPhases& run, FeatureStore& features);
    FlatParameters parameters;
    TrainingStep step;
    AdamW optimizer;
  };
  void make_present();

  const peft::Method& method_;
  model::Classifier& classifier_;
  const Examples& examples_;
  const TrainOptions& options_;
  const RunContext& context_;
  FeatureStore& features_;
  FeatureStore none_kept_{0};
  peft::TrainingHooks* hooks_;
  std::vector<peft::Phase> phases_;
  std::vector<std::int64_t> ends_;
  std::size_t index_ = 0;
  std::unique_ptr<Phase> present_;
  double spared_seconds_ = 0;  // of the phases before this one, as below
  double prefix_flop_ = 0;
};

}  // namespace dtrain::train
