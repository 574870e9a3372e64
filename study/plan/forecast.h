#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "study/plan/plan.h"
#include "study/plan/trial.h"
#include "train/estimate.h"

namespace dtrain::study {

/// What the trials of a method will take, from a few real steps.
struct MethodForecast {
  std::string method;
  /// By one group of ranks with nothing else on the node: what the method costs.
  train::Estimate alone;
  /// By every group at once, the slowest one's: what its trials take in the study.
  train::Estimate beside;
  /// What peft::save_trained writes for it.
  std::int64_t stored_bytes = 0;
  /// Of a group.
  int ranks = 1;
  int threads_per_rank = 1;
};

/// The sizes that the time of a trial follows from, besides its sample count.
struct TrialSizes {
  std::int64_t dev_available = 0;
  /// Test and out-of-domain examples together, and those that forgetting is measured on.
  std::int64_t scored = 0;
  std::int64_t batch_size = 0;
  /// Result seeds.
  std::int64_t seeds = 1;
  /// Results go on with a next task, which takes about as long again.
  bool has_next_task = false;
};

/// Seconds of a trial, evaluations included, beside the others. Features of the frozen part that trials share are
/// spread over them.
double trial_seconds(const StudyPlan& plan, const MethodForecast& forecast, const Trial& trial,
                     const TrialSizes& sizes);

/// What a method costs at each sample count of the plan, by itself.
std::map<std::int64_t, Cost> method_costs(const StudyPlan& plan, const MethodForecast& forecast,
                                          const train::TrainOptions& training);

/// How long the trials of a study take: the forecast, corrected for each method by what its trials took so far.
class TimeLeft {
 public:
  TimeLeft(const StudyPlan& plan, const std::vector<MethodForecast>& forecasts, TrialSizes sizes);

  double seconds(const Trial& trial) const;
  void took(const Trial& trial, double seconds);

 private:
  struct Progress {
    MethodForecast forecast;
    double expected = 0;
    double measured = 0;
  };
  const StudyPlan& plan_;
  std::map<std::string, Progress> methods_;
  TrialSizes sizes_;
};

}  // namespace dtrain::study
