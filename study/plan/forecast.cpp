#include "study/plan/forecast.h"

#include <algorithm>
#include <cmath>

#include "dist/wire_format.h"
#include "study/plan/search.h"

namespace dtrain::study {
namespace {

double steps_per_epoch(std::int64_t samples, std::int64_t batch_size) {
  return std::ceil(static_cast<double>(samples) / static_cast<double>(batch_size));
}

// Of whole batches, on which steps are measured, what an epoch's are on average: the last one is smaller. Where there
// are fewer samples than a batch has, steps are measured on that many.
double batch_share(std::int64_t samples, std::int64_t batch_size) {
  if (samples < batch_size) return 1;
  return static_cast<double>(samples) / (steps_per_epoch(samples, batch_size) * static_cast<double>(batch_size));
}

double seconds_of_one_task(const StudyPlan& plan, const MethodForecast& forecast, const Trial& trial,
                           const TrialSizes& sizes) {
  const train::Estimate& estimate = forecast.beside;
  const bool is_result = trial.phase == Trial::Phase::result;
  const double steps = std::ceil(static_cast<double>(plan.steps.at(trial.samples)) * trial.length);
  const double dev_seconds =
      static_cast<double>(dev_examples(trial.samples, sizes.dev_available)) * estimate.score_example_seconds;
  const double scored_seconds = static_cast<double>(sizes.scored) * estimate.score_example_seconds;
  double seconds = steps * estimate.step_seconds * batch_share(trial.samples, sizes.batch_size);
  if (estimate.prefix_example_seconds == 0) {
    // The trainer evaluates after each epoch.
    const double epochs = std::ceil(steps / steps_per_epoch(trial.samples, sizes.batch_size));
    seconds += std::min(epochs, static_cast<double>(most_evaluations(trial))) * dev_seconds;
    return seconds + (is_result ? scored_seconds : 0);
  }
  // Features are made once: a search's examples are the same for each learning rate, a seed draws its own; dev belongs
  // to whatever comes first, test to the results.
  const double prefix_seconds = static_cast<double>(trial.samples) * estimate.prefix_example_seconds;
  if (!is_result) return seconds + (prefix_seconds + dev_seconds) / 3;
  return seconds + prefix_seconds + scored_seconds / static_cast<double>(sizes.seeds);
}

}  // namespace

double trial_seconds(const StudyPlan& plan, const MethodForecast& forecast, const Trial& trial,
                     const TrialSizes& sizes) {
  const bool goes_on = sizes.has_next_task && trial.phase == Trial::Phase::result;
  return (goes_on ? 2 : 1) * seconds_of_one_task(plan, forecast, trial, sizes);
}

std::map<std::int64_t, Cost> method_costs(const StudyPlan& plan, const MethodForecast& forecast,
                                          const train::TrainOptions& training) {
  std::map<std::int64_t, Cost> costs;
  const std::int64_t batch_size = training.batch_size;
  for (const std::int64_t samples : plan.samples) {
    const train::Estimate& estimate = forecast.alone;
    const auto steps = static_cast<double>(plan.steps.at(samples));
    Cost cost;
    cost.ranks = forecast.ranks;
    cost.threads_per_rank = forecast.threads_per_rank;
    cost.train_seconds = steps * estimate.step_seconds * batch_share(samples, batch_size) +
                         static_cast<double>(samples) * estimate.prefix_example_seconds;
    cost.samples_per_second =
        steps / steps_per_epoch(samples, batch_size) * static_cast<double>(samples) / cost.train_seconds;
    cost.tokens_per_second = cost.samples_per_second * estimate.tokens_per_example;
    cost.flop = steps * estimate.step_flop * batch_share(samples, batch_size) +
                static_cast<double>(samples) * estimate.prefix_example_flop;
    if (estimate.matmul_rate > 0) cost.matmul_rate_share = cost.flop / cost.train_seconds / estimate.matmul_rate;
    cost.peak_memory_bytes = estimate.peak_memory_bytes;
    cost.peak_memory_above_base_bytes = estimate.peak_memory_above_base_bytes;
    cost.trainable_parameters = estimate.trainable_parameters;
    // Of a trial on one rank there are none: what it would take on several.
    cost.allreduce_bytes_per_step = dist::wire_bytes(training.reduce_format, estimate.trainable_parameters);
    cost.stored_bytes = forecast.stored_bytes;
    costs[samples] = cost;
  }
  return costs;
}

TimeLeft::TimeLeft(const StudyPlan& plan, const std::vector<MethodForecast>& forecasts, TrialSizes sizes)
    : plan_(plan), sizes_(sizes) {
  for (const MethodForecast& forecast : forecasts) methods_[forecast.method] = {forecast};
}

double TimeLeft::seconds(const Trial& trial) const {
  const Progress& progress = methods_.at(trial.method);
  const double forecast = trial_seconds(plan_, progress.forecast, trial, sizes_);
  return progress.expected > 0 ? forecast * progress.measured / progress.expected : forecast;
}

void TimeLeft::took(const Trial& trial, double seconds) {
  Progress& progress = methods_.at(trial.method);
  progress.expected += trial_seconds(plan_, progress.forecast, trial, sizes_);
  progress.measured += seconds;
}

}  // namespace dtrain::study
