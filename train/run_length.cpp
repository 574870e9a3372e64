#include "train/run_length.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/batch_plan.h"

namespace dtrain::train {

std::int64_t steps_per_epoch(const TrainOptions& options, const Examples& examples) {
  return (examples.size() + options.batch_size - 1) / options.batch_size;
}

std::int64_t total_steps(const TrainOptions& options, std::int64_t steps_per_epoch) {
  if (options.max_steps) return *options.max_steps;
  const auto by_epochs = static_cast<std::int64_t>(std::ceil(options.epochs * static_cast<double>(steps_per_epoch)));
  return std::max(by_epochs, options.min_steps);
}

std::vector<std::int64_t> phase_ends(const std::vector<peft::Phase>& phases, std::int64_t steps) {
  std::vector<std::int64_t> ends;
  double share = 0;
  for (const peft::Phase& phase : phases) {
    share += phase.share;
    ends.push_back(static_cast<std::int64_t>(std::llround(share * static_cast<double>(steps))));
  }
  return ends;
}

std::int64_t evaluation_interval(std::int64_t steps, std::int64_t steps_per_epoch, std::int64_t most) {
  const std::int64_t epochs = (steps + steps_per_epoch - 1) / steps_per_epoch;
  return steps_per_epoch * std::max<std::int64_t>(1, (epochs + most - 1) / most);
}

Seen seen_in_run(const TrainOptions& options, const Examples& examples, std::int64_t steps) {
  const auto lengths = examples.lengths();
  const data::BatchPlan plan(lengths, options.batch_size, options.seed);
  const std::int64_t epochs = steps / plan.steps_per_epoch();
  Seen seen{epochs * examples.size(), epochs * std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0})};
  for (std::int64_t step = epochs * plan.steps_per_epoch(); step < steps; ++step) {
    for (const std::int64_t id : plan.batch(step)) {
      ++seen.examples;
      seen.tokens += lengths[static_cast<std::size_t>(id)];
    }
  }
  return seen;
}

}  // namespace dtrain::train
