#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "study/plan/plan.h"
#include "train/cost.h"
#include "train/curve_point.h"

namespace dtrain::study {

/// One training run of a study.
struct Trial {
  enum class Phase { search, result };
  Phase phase;
  std::string method;
  std::int64_t samples;
  double learning_rate;
  std::uint64_t seed;
  /// The share of a whole training's steps that it takes: a rung of the search (study/plan/search.h). Results have 1.
  double length = 1;

  /// Tells a trial from every other of its study.
  std::string key() const;
  /// The same as a path of folders: "result/lora:r=16/samples=1000,lr=0.001,seed=1".
  std::filesystem::path folder() const;
};

using train::Cost;
using train::CurvePoint;

/// What a trial gave. Metrics and scores are the same on every rank; costs are the first rank's.
struct TrialOutcome {
  /// Why training could not go on (a loss that is not finite); empty where it ended well. Without metrics then.
  std::string failure;
  /// Taken, and whether that is less than planned (--patience).
  std::int64_t steps = 0;
  bool stopped_early = false;
  std::int64_t best_step = 0;
  int ranks = 1;
  /// By set ("dev", "test", "ood.NAME") and name ("accuracy", "log_loss", ...).
  std::map<std::string, std::map<std::string, double>> metrics;
  /// By set, the score of each example (Objective::example_scores; of classes 1 where it was right, else 0): what
  /// paired differences need. Empty for the search.
  std::map<std::string, std::vector<double>> scores;
  /// By set, the class that each example was taken for (Objective::predicted_classes). Empty for the search, where an
  /// answer is not one class, and in journals of earlier versions.
  std::map<std::string, std::vector<std::int32_t>> predicted;
  /// By set, the probability of that class (Objective::confidences); empty where that is.
  std::map<std::string, std::vector<float>> confidences;
  /// By set and metric, what each example adds to the metric that is their mean (Objective::example_values). Empty for
  /// the search, and in journals of earlier versions.
  std::map<std::string, std::map<std::string, std::vector<float>>> values;
  /// What retention probes found of it (study/states/forgetting.h), by name; empty for the search.
  std::map<std::string, double> forgetting;
  /// dev after each evaluation, by step.
  std::vector<CurvePoint> curve;
  /// As it was beside whatever else ran on the node; what a method costs by itself is measured apart (MethodForecast).
  Cost cost;
  /// With loading and all evaluations.
  double seconds = 0;
  /// Which group of ranks ran it, from 0, and when it began: seconds since the study began, those before a resume
  /// counted.
  int group = 0;
  double started = 0;
  /// What of its budget the study had spent when it ended, in seconds, but for what a kill would then have taken: the
  /// trials that were under way, as the mean over the groups.
  double spent = 0;
  /// What a person should know of it (features that do not fit, say).
  std::vector<std::string> warnings;

  bool failed() const { return !failure.empty(); }
  /// NaN where the trial failed or has no such metric.
  double metric(const std::string& set, const std::string& name) const;
};

/// What a method costs by itself, by method and sample count.
using MethodCosts = std::map<std::string, std::map<std::int64_t, Cost>>;

/// Finished trials and their outcomes, by key.
using FinishedTrials = std::map<std::string, std::pair<Trial, TrialOutcome>>;

/// The trials of the result.
std::vector<Trial> result_trials(const StudyPlan& plan, const MethodPlan& method, std::int64_t samples,
                                 double learning_rate);

/// A trial and its outcome as a line of the journal, and back. Doubles survive exactly.
nlohmann::json trial_json(const Trial& trial, const TrialOutcome& outcome);
std::pair<Trial, TrialOutcome> trial_from_json(const nlohmann::json& json);

}  // namespace dtrain::study
