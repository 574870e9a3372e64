#pragma once

#include <filesystem>
#include <string>

#include "base/log.h"
#include "study/journal/run_facts.h"
#include "study/plan/plan.h"
#include "study/plan/trial.h"

namespace dtrain::study {

/// journal.jsonl: what a study has finished. The first line is the plan; each line after it is a finished trial, on
/// disk before anything that builds on it begins, or a plan that follows (a resume with other trials), what the methods
/// cost, or how the study ran so far. Of what stands there twice the last counts. A line ends in its own digest
/// (docs/results.md); those of earlier versions have none, and are taken as they are.
class Journal {
 public:
  /// Begins a journal, in place of whatever was there.
  static Journal begin(const std::filesystem::path& path, const StudyPlan& plan);

  /// Goes on with a journal, whose trials may be other ones. A last line that was cut short or is damaged is dropped,
  /// with a warning. Throws UsageError naming what differs where something else decides its numbers, InputError
  /// (file:line) where it is damaged otherwise.
  static Journal go_on(const std::filesystem::path& path, const StudyPlan& plan, const Log& log);

  /// Writes a line and syncs it. Throws TrainingError where the disk refuses.
  void append(const Trial& trial, const TrialOutcome& outcome);
  void append(const StudyPlan& plan);
  void append(const MethodCosts& costs);
  void append(const RunFacts& facts);

  const FinishedTrials& finished() const { return finished_; }

 private:
  explicit Journal(std::filesystem::path path) : path_(std::move(path)) {}
  void append_line(const nlohmann::json& line);

  std::filesystem::path path_;
  FinishedTrials finished_;
};

/// A journal as it is, without a plan to hold it against (for a report).
struct JournalContent {
  StudyPlan plan;
  FinishedTrials finished;
  MethodCosts costs;
  RunFacts run;
  /// How many bytes are whole lines.
  std::size_t whole_bytes = 0;
};
JournalContent read_journal(const std::filesystem::path& path, const Log& log);

}  // namespace dtrain::study
