#pragma once

#include <filesystem>
#include <string>

#include "base/log.h"
#include "study/plan.h"
#include "study/trial.h"

namespace dtrain::study {

/// journal.jsonl: what a study has finished. The first line is the plan, each line after it a finished trial, on disk
/// before the next one begins.
class Journal {
 public:
  /// Begins a journal, in place of whatever was there.
  static Journal begin(const std::filesystem::path& path, const StudyPlan& plan);

  /// Goes on with a journal. A last line that was cut short is dropped, with a warning. Throws UsageError naming what
  /// differs where it is another plan's, InputError (file:line) where it is damaged otherwise.
  static Journal go_on(const std::filesystem::path& path, const StudyPlan& plan, const Log& log);

  /// Writes a line and syncs it. Throws TrainingError where the disk refuses.
  void append(const Trial& trial, const TrialOutcome& outcome);

  const FinishedTrials& finished() const { return finished_; }

 private:
  explicit Journal(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
  FinishedTrials finished_;
};

/// A journal as it is, without a plan to hold it against (for a report).
struct JournalContent {
  StudyPlan plan;
  FinishedTrials finished;
  /// How many bytes are whole lines.
  std::size_t whole_bytes = 0;
};
JournalContent read_journal(const std::filesystem::path& path, const Log& log);

}  // namespace dtrain::study
