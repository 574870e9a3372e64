#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "study/analysis.h"
#include "study/plan.h"
#include "study/run_facts.h"
#include "study/trial.h"
#include "study/verdict.h"

namespace dtrain::study {

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

/// `costs`: what the methods cost by themselves; where there are none, what the trials took.
Report make_report(StudyPlan plan, FinishedTrials finished, const MethodCosts& costs = {});

/// The content of results.json (docs/results.md).
nlohmann::json results_json(const Report& report);

/// For a terminal: quality, cost, verdict.
std::string terminal_text(const Report& report);

/// The content of report.md.
std::string markdown_text(const Report& report);

}  // namespace dtrain::study
