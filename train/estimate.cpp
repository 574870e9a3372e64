#include "train/estimate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "base/seconds.h"
#include "peft/registry.h"
#include "train/evaluation.h"
#include "train/flat_parameters.h"
#include "train/optimizer.h"
#include "train/peak_memory.h"
#include "train/trainer.h"
#include "train/training_step.h"

namespace dtrain::train {
namespace {

using Clock = std::chrono::steady_clock;

// Examples spread evenly over the data set.
Examples spread(const Examples& examples, std::int64_t count) {
  std::vector<std::int64_t> ids;
  count = std::min(count, examples.size());
  for (std::int64_t i = 0; i < count; ++i) ids.push_back(i * examples.size() / count);
  return examples.subset(ids);
}

constexpr std::int64_t kSteps = 3;

// What a phase of a run takes.
struct PhaseCost {
  double step_seconds = 0;
  /// The frozen part of one example, where it is run once; else 0.
  double prefix_example_seconds = 0;
  double step_flop = 0;
  double prefix_example_flop = 0;
  std::int64_t trainable_parameters = 0;
  std::int64_t allreduce_bytes = 0;
  std::int64_t moment_bytes = 0;
};

PhaseCost measure_phase(model::Classifier& classifier, const Examples& sample, const TrainOptions& options,
                        const RunContext& context) {
  PhaseCost cost;
  FlatParameters parameters = flatten(classifier);
  FeatureStore features(options.cache_memory);
  const auto begin_prefix = Clock::now();
  TrainingStep step(classifier, parameters, options, sample, context, features);
  if (classifier.first_trainable_stage() > 1) {
    cost.prefix_example_seconds = seconds_since(begin_prefix) / static_cast<double>(sample.size());
    cost.prefix_example_flop = sum_over_ranks(step.prefix_flop(), context) / static_cast<double>(sample.size());
  }
  AdamW optimizer(parameters, options, step.sharding(), &step.gather());
  step.run(0);
  // So small that it changes no weight, and none of the work is left out.
  constexpr double kNoRate = 1e-12;
  optimizer.step(kNoRate);
  const auto begin = Clock::now();
  for (std::int64_t i = 1; i <= kSteps; ++i) {
    cost.step_flop += step.run(i).flop / static_cast<double>(kSteps);
    optimizer.step(kNoRate);
  }
  step.gather().wait();
  cost.step_seconds = seconds_since(begin) / static_cast<double>(kSteps);
  cost.trainable_parameters = parameters.size();
  cost.allreduce_bytes = step.allreduce_bytes();
  cost.moment_bytes = optimizer.moment_bytes();
  return cost;
}

}  // namespace

Estimate estimate(model::Classifier& classifier, const Examples& examples, std::int64_t dev_examples,
                  const TrainOptions& options, const RunContext& context) {
  Estimate result;
  for (const model::Parameter* parameter : classifier.parameters()) result.parameters += parameter->value().numel();
  const PeakMemory peak(classifier, context.device);
  const auto sample = spread(examples, (kSteps + 1) * options.batch_size);

  // The first forward pass of a shape is slower than those that follow.
  score(classifier, spread(sample, options.batch_size), context);
  const auto begin_evaluation = Clock::now();
  score(classifier, sample, context);
  result.score_example_seconds = seconds_since(begin_evaluation) / static_cast<double>(sample.size());

  const std::int64_t steps_per_epoch = (examples.size() + options.batch_size - 1) / options.batch_size;
  result.steps = total_steps(options, steps_per_epoch);
  const auto evaluations =
      static_cast<double>(std::min((result.steps + steps_per_epoch - 1) / steps_per_epoch, options.most_evaluations));
  const auto method = peft::make_method(options.method);
  const auto phases = method->phases(classifier);
  const auto ends = phase_ends(phases, result.steps);
  double flop = 0;
  std::int64_t moment_bytes = 0;  // of the last phase
  double scored = 0;              // evaluations of dev, those of kept features as one
  for (std::size_t phase = 0; phase < phases.size(); ++phase) {
    if (phase > 0) method->enter_phase(classifier, static_cast<int>(phase));
    const std::int64_t steps = ends[phase] - (phase == 0 ? 0 : ends[phase - 1]);
    if (steps == 0) continue;
    const PhaseCost cost = measure_phase(classifier, sample, options, context);
    // A phase that does not see all examples runs the frozen part of those alone that it sees.
    const auto prefixes = static_cast<double>(std::min(examples.size(), steps * options.batch_size));
    result.train_seconds += cost.prefix_example_seconds * prefixes + cost.step_seconds * static_cast<double>(steps);
    flop += cost.prefix_example_flop * prefixes + cost.step_flop * static_cast<double>(steps);
    const double share = evaluations * static_cast<double>(steps) / static_cast<double>(result.steps);
    scored += cost.prefix_example_seconds > 0 ? std::min(share, 1.0) : share;
    result.step_seconds = cost.step_seconds;
    result.prefix_example_seconds = cost.prefix_example_seconds;
    result.step_flop = cost.step_flop;
    result.prefix_example_flop = cost.prefix_example_flop;
    result.trainable_parameters = cost.trainable_parameters;
    result.allreduce_bytes = cost.allreduce_bytes;
    moment_bytes = cost.moment_bytes;
  }
  if (phases.size() > 1) {
    result.step_seconds = result.train_seconds / static_cast<double>(result.steps);
    result.step_flop = flop / static_cast<double>(result.steps);
    result.prefix_example_flop = 0;
  }
  const auto lengths = examples.lengths();
  result.tokens_per_example =
      std::accumulate(lengths.begin(), lengths.end(), 0.0) / static_cast<double>(lengths.size());
  result.matmul_rate = context.matmul_rate * context.control.size();
  result.state_bytes =
      (result.parameters + result.trainable_parameters) * static_cast<std::int64_t>(sizeof(float)) + moment_bytes;
  result.peak_memory_bytes = peak.bytes();
  result.peak_memory_above_base_bytes = result.peak_memory_bytes - peak.base_bytes();
  result.evaluation_seconds = scored * static_cast<double>(dev_examples) * result.score_example_seconds;
  return result;
}

}  // namespace dtrain::train
