#include "study/forecast.h"

#include <algorithm>
#include <utility>

namespace dtrain::study {

double trial_seconds(const MethodForecast& forecast, const Trial& trial, const TrialSizes& sizes) {
  const train::Estimate& estimate = forecast.estimate;
  const std::int64_t steps = sizes.steps.at(trial.samples);
  const std::int64_t steps_per_epoch = (trial.samples + sizes.batch_size - 1) / sizes.batch_size;
  const bool cached = estimate.prefix_example_seconds > 0;
  // The trainer evaluates after each epoch, at most ten times; from cached features all but the first come for next to
  // nothing.
  const std::int64_t epochs = (steps + steps_per_epoch - 1) / steps_per_epoch;
  const std::int64_t evaluations = cached ? 1 : std::min<std::int64_t>(epochs, 10);
  std::int64_t scored = evaluations * dev_examples(trial.samples, sizes.dev_available);
  if (trial.phase == Trial::Phase::result) scored += sizes.scored;
  return static_cast<double>(steps) * estimate.step_seconds +
         static_cast<double>(trial.samples) * estimate.prefix_example_seconds +
         static_cast<double>(scored) * estimate.score_example_seconds;
}

TimeLeft::TimeLeft(std::vector<MethodForecast> forecasts, TrialSizes sizes) : sizes_(std::move(sizes)) {
  for (MethodForecast& forecast : forecasts) {
    const std::string method = forecast.method;
    methods_[method] = {std::move(forecast)};
  }
}

double TimeLeft::seconds(const Trial& trial) const {
  const Progress& progress = methods_.at(trial.method);
  const double forecast = trial_seconds(progress.forecast, trial, sizes_);
  return progress.expected > 0 ? forecast * progress.measured / progress.expected : forecast;
}

void TimeLeft::took(const Trial& trial, double seconds) {
  Progress& progress = methods_.at(trial.method);
  progress.expected += trial_seconds(progress.forecast, trial, sizes_);
  progress.measured += seconds;
}

}  // namespace dtrain::study
