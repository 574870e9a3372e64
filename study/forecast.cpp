#include "study/forecast.h"

#include <algorithm>
#include <utility>

namespace dtrain::study {

double trial_seconds(const MethodForecast& forecast, const Trial& trial, const TrialSizes& sizes) {
  const train::Estimate& estimate = forecast.estimate;
  const bool is_result = trial.phase == Trial::Phase::result;
  const std::int64_t steps = sizes.steps.at(trial.samples);
  const double step_seconds = static_cast<double>(steps) * estimate.step_seconds;
  const double dev_seconds =
      static_cast<double>(dev_examples(trial.samples, sizes.dev_available)) * estimate.score_example_seconds;
  const double scored_seconds = static_cast<double>(sizes.scored) * estimate.score_example_seconds;
  if (estimate.prefix_example_seconds == 0) {
    // The trainer evaluates after each epoch, at most ten times.
    const std::int64_t steps_per_epoch = (trial.samples + sizes.batch_size - 1) / sizes.batch_size;
    const std::int64_t evaluations = std::min<std::int64_t>((steps + steps_per_epoch - 1) / steps_per_epoch, 10);
    return step_seconds + static_cast<double>(evaluations) * dev_seconds + (is_result ? scored_seconds : 0);
  }
  // Features are made once: a search's examples are the same for each learning rate, a seed draws its own; dev belongs
  // to whatever comes first, test to the results.
  const double prefix_seconds = static_cast<double>(trial.samples) * estimate.prefix_example_seconds;
  const auto searched = static_cast<double>(sizes.searched.at(trial.method));
  if (!is_result) return step_seconds + (prefix_seconds + dev_seconds) / searched;
  return step_seconds + prefix_seconds +
         (scored_seconds + (searched == 0 ? dev_seconds : 0)) / static_cast<double>(sizes.seeds);
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
