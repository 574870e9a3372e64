#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "study/plan.h"
#include "study/trial.h"
#include "train/estimate.h"

namespace dtrain::study {

/// What the trials of a method will take, from a few real steps.
struct MethodForecast {
  std::string method;
  train::Estimate estimate;
  /// What peft::save_trained writes for it.
  std::int64_t stored_bytes = 0;
};

/// The sizes that the time of a trial follows from, besides its sample count.
struct TrialSizes {
  std::int64_t dev_available = 0;
  /// Test and out-of-domain examples together.
  std::int64_t scored = 0;
  std::int64_t batch_size = 0;
  /// Of a run over `samples` examples.
  std::map<std::int64_t, std::int64_t> steps;
  /// Learning rates that are searched, by method (0: none).
  std::map<std::string, std::int64_t> searched;
  /// Result seeds.
  std::int64_t seeds = 1;
};

/// Seconds of a trial, evaluations included. Features of the frozen part that trials share are spread over them.
double trial_seconds(const MethodForecast& forecast, const Trial& trial, const TrialSizes& sizes);

/// How long the rest of a study takes: the forecast, corrected for each method by what its trials took so far.
class TimeLeft {
 public:
  TimeLeft(std::vector<MethodForecast> forecasts, TrialSizes sizes);

  double seconds(const Trial& trial) const;
  void took(const Trial& trial, double seconds);

 private:
  struct Progress {
    MethodForecast forecast;
    double expected = 0;
    double measured = 0;
  };
  std::map<std::string, Progress> methods_;
  TrialSizes sizes_;
};

}  // namespace dtrain::study
