#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dtrain::peft {

/// A part of a run in which the same parameters train, with an optimiser and a schedule of its own.
struct Phase {
  /// Of the run's steps.
  double share = 1;
  /// Unset: the run's.
  std::optional<double> learning_rate = {};
};

/// What a method does during a run besides giving its parameters to the optimiser. It belongs to one run, and
/// its state to the run's checkpoints. The same on every rank.
class TrainingHooks {
 public:
  virtual ~TrainingHooks() = default;
  /// A scalar that is added to the loss of a step; undefined: nothing is.
  virtual at::Tensor loss_term() = 0;
  /// Whether after_step reads the parameters' gradients: then they are the sums over the ranks, clipped, on every rank.
  virtual bool reads_gradients() const { return false; }
  /// After the optimiser's step `step`, from 0. It may write into values, and says so to their parameters.
  virtual void after_step(std::int64_t step) = 0;
  /// What a run that goes on from a checkpoint must be given back.
  virtual std::vector<std::pair<std::string, at::Tensor>> state() const = 0;
  virtual void restore(const std::vector<std::pair<std::string, at::Tensor>>& state) = 0;
};

}  // namespace dtrain::peft
