#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "study/findings/analysis.h"
#include "study/findings/verdict.h"
#include "study/journal/run_facts.h"
#include "study/plan/plan.h"
#include "study/plan/trial.h"

namespace dtrain::study {

/// How many trials there are of those that the plan asks for, as far as that is known: without the results of a method
/// of which no learning rate trained.
struct Progress {
  std::int64_t finished = 0;
  std::int64_t planned = 0;
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
  /// What `dtrain train` is to be told besides method and rate, for the same training: each option with a space before.
  std::string training_options;
  /// What a person should know about the data.
  std::vector<std::string> notes;
  /// Of the classes, in the model's order.
  std::vector<std::string> labels;
  /// Of dtrain and its libraries.
  std::vector<std::string> versions;
  /// When, as a person reads it.
  std::string begun;

  Progress progress() const;
  /// Of an output; its number where names were not kept.
  std::string class_name(std::int32_t label) const;
};

/// `costs`: what the methods cost by themselves; where there are none, what the trials took.
Report make_report(StudyPlan plan, FinishedTrials finished, const MethodCosts& costs = {});

/// What a reader must know to read the numbers, and what cannot be read from them.
std::vector<std::string> reading_notes(const Report& report);

/// The content of results.json (docs/results.md, docs/results.schema.json). What is not a number is null.
nlohmann::json results_json(const Report& report);

/// The content of trials.csv (RFC 4180, lines end in CR LF): a line for each finished trial, its columns those of
/// docs/results.md; what is not a number, or not measured, is empty.
std::string trials_csv(const Report& report);

/// The content of study.json: what a report says besides what the journal has, so that it can be made
/// again from the study's directory.
nlohmann::json setting_json(const Report& report);
/// The same back into a report. Throws nlohmann::json::exception where something is missing.
void take_setting(const nlohmann::json& setting, Report& report);

/// For a terminal: quality, cost, verdict.
std::string terminal_text(const Report& report);

/// The content of report.md.
std::string markdown_text(const Report& report);

}  // namespace dtrain::study
