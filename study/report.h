#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "study/analysis.h"
#include "study/plan.h"
#include "study/trial.h"
#include "study/verdict.h"

namespace dtrain::study {

/// How a study ran, as far as it has.
struct RunFacts {
  int groups = 1;
  int ranks_per_trial = 1;
  /// --budget; nothing: none.
  std::optional<double> budget_seconds;
  /// Of the trials, as the plan said it at the start; 0: not known.
  double forecast_seconds = 0;
  /// From the beginning to the last trial's end.
  double seconds = 0;
  /// The share of the groups' time in which they had no trial.
  double idle_share = 0;
  /// What was taken out of the plan while it ran, and why.
  std::vector<std::string> changes;
};

/// A study from its plan and finished trials, ready to be shown.
struct Report {
  StudyPlan plan;
  FinishedTrials finished;
  Findings findings;
  std::vector<Verdict> verdicts;
  RunFacts run;
  /// What ran it: ranks, devices, threads, precision.
  std::string machine;
  /// The command that repeats it.
  std::string command;
  /// What a person should know about the data.
  std::vector<std::string> notes;
};

Report make_report(StudyPlan plan, FinishedTrials finished);

/// The content of results.json (docs/results.md).
nlohmann::json results_json(const Report& report);

/// For a terminal: quality, cost, verdict.
std::string terminal_text(const Report& report);

/// The content of report.md.
std::string markdown_text(const Report& report);

}  // namespace dtrain::study
