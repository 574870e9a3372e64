#pragma once

#include <nlohmann/json.hpp>
#include <optional>

namespace dtrain::study {

/// How a study ran, as far as it has: all of its runs together, where it was gone on with.
struct RunFacts {
  /// Nothing of the plan is missing but what was taken out of it (StudyPlan::changes).
  bool ended = false;
  /// Of the last run.
  int groups = 1;
  int ranks_per_trial = 1;
  /// --budget, which is for all of it, as the last run was given it; nothing: none.
  std::optional<double> budget_seconds;
  /// Of the trials, as the plan said it at the start; nothing where the plan became another since.
  std::optional<double> forecast_seconds;
  /// From the beginning to the last trial's end.
  double seconds = 0;
  /// Of these, until the plan of the forecast was done: seeds that were added then are not in the forecast.
  double planned_seconds = 0;
  /// The share of the groups' time in which they had no trial; nothing where the runs had different numbers of ranks.
  std::optional<double> idle_share = 0;
};

/// As the journal and results.json hold them, and back.
nlohmann::json run_facts_json(const RunFacts& facts);
RunFacts run_facts_from_json(const nlohmann::json& json);

}  // namespace dtrain::study
