#include "train/estimate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>

#include "train/evaluation.h"
#include "train/flat_parameters.h"
#include "train/optimizer.h"
#include "train/peak_memory.h"
#include "train/trainer.h"
#include "train/training_step.h"

namespace dtrain::train {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Examples spread evenly over the data set.
data::TokenDataset spread(const data::TokenDataset& examples, std::int64_t count) {
  std::vector<std::int64_t> ids;
  count = std::min(count, examples.size());
  for (std::int64_t i = 0; i < count; ++i) ids.push_back(i * examples.size() / count);
  return examples.subset(ids);
}

}  // namespace

Estimate estimate(model::Classifier& classifier, const data::TokenDataset& examples, std::int64_t dev_examples,
                  const TrainOptions& options, const RunContext& context) {
  constexpr std::int64_t kSteps = 3;
  Estimate result;
  for (const model::Parameter* parameter : classifier.parameters()) result.parameters += parameter->value().numel();
  reset_peak_memory(context.device);
  const auto sample = spread(examples, (kSteps + 1) * options.batch_size);

  const auto begin_evaluation = Clock::now();
  score(classifier, sample, context);
  const double per_example = seconds_since(begin_evaluation) / static_cast<double>(sample.size());
  result.score_example_seconds = per_example;

  FlatParameters parameters = flatten(classifier);
  FeatureStore features(options.cache_memory);
  const auto begin_prefix = Clock::now();
  TrainingStep step(classifier, parameters, options, sample, context, features);
  const bool cached = classifier.first_trainable_stage() > 1;
  if (cached) result.prefix_example_seconds = seconds_since(begin_prefix) / static_cast<double>(sample.size());
  const double prefix_seconds = result.prefix_example_seconds * static_cast<double>(examples.size());
  AdamW optimizer(parameters, options);
  step.run(0);
  optimizer.step(0);
  const auto begin = Clock::now();
  for (std::int64_t i = 1; i <= kSteps; ++i) {
    step.run(i);
    optimizer.step(0);
  }
  result.step_seconds = seconds_since(begin) / static_cast<double>(kSteps);

  const std::int64_t steps_per_epoch = (examples.size() + options.batch_size - 1) / options.batch_size;
  result.trainable_parameters = parameters.size();
  result.steps = total_steps(options, steps_per_epoch);
  result.allreduce_bytes = step.allreduce_bytes();
  result.state_bytes = (result.parameters + 3 * result.trainable_parameters) * static_cast<std::int64_t>(sizeof(float));
  result.peak_memory_bytes = peak_memory_bytes(context.device);
  result.train_seconds = prefix_seconds + result.step_seconds * static_cast<double>(result.steps);
  const std::int64_t epochs = (result.steps + steps_per_epoch - 1) / steps_per_epoch;
  result.evaluation_seconds =
      per_example * static_cast<double>(dev_examples * (cached ? 1 : std::min<std::int64_t>(epochs, 10)));
  return result;
}

}  // namespace dtrain::train
