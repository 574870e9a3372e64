#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/classifier.h"
#include "study/forecast.h"
#include "study/journal.h"
#include "study/plan.h"
#include "study/trial.h"
#include "train/examples.h"
#include "train/options.h"
#include "train/run_context.h"

namespace dtrain::study {

/// What trials are made of.
struct Material {
  /// A pretrained classifier with a head drawn from this seed. Asked for each trial: the weights come from the page
  /// cache, in a twentieth of a second.
  std::function<std::unique_ptr<model::Classifier>(std::uint64_t head_seed)> classifier;
  /// The training examples of a sample count.
  std::function<train::Examples(std::int64_t samples, std::uint64_t subset_seed)> train;
  /// The dev examples of a sample count (dev_examples of them).
  std::function<train::Examples(std::int64_t samples)> dev;
  /// "test" and "ood.NAME".
  std::vector<std::pair<std::string, train::Examples>> sets;
  std::vector<std::string> labels;
  std::filesystem::path model_directory;
  train::TrainOptions training;
};

/// Collective. A few steps of each method on the plan's largest sample count, and the bytes it stores, for which
/// `scratch` is written and removed. Throws UsageError for a method whose settings do not fit the model.
std::vector<MethodForecast> forecast(const StudyPlan& plan, const Material& material,
                                     const std::filesystem::path& scratch, const train::RunContext& context);

/// What trial_seconds asks for.
TrialSizes trial_sizes(const StudyPlan& plan, const Material& material, std::int64_t dev_available);

/// Collective. Runs what `finished` does not hold, and returns it all. The first rank's `journal` (null elsewhere) has
/// each trial before the next one begins. Throws Stopped after a signal; the trial under way is lost.
FinishedTrials run_study(const StudyPlan& plan, const Material& material, FinishedTrials finished, Journal* journal,
                         const std::vector<MethodForecast>& forecasts, const TrialSizes& sizes,
                         const train::RunContext& context);

/// Collective. The first rank's trials, on every rank.
FinishedTrials shared_trials(const FinishedTrials& finished, dist::Communicator& control);

}  // namespace dtrain::study
