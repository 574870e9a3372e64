#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/log.h"
#include "study/report/report.h"

namespace dtrain::launcher {

/// study.json: what a report says besides plan and trials. Written when a study begins, so that a report can be made
/// while it runs, and when it ends.
void write_setting(const study::Report& report, const std::filesystem::path& directory);

/// When the study of a directory began: what its study.json says, else now (UTC).
std::string begun_text(const std::filesystem::path& directory);

/// The report of a study's directory as far as the study has come, from its journal.jsonl and study.json. Throws
/// InputError where there is no journal, or one of the two is damaged (file and line).
study::Report read_study(const std::filesystem::path& directory, const Log& log);

/// The page of the studies of those directories, each with what `dtrain diagnose` left in its own. `reports` are
/// theirs.
std::string page_text(const std::vector<study::Report>& reports, const std::vector<std::filesystem::path>& directories,
                      const Log& log);

/// results.json, trials.csv, report.md and report.html into `output`; of the study of `directory`.
void write_report(const study::Report& report, const std::filesystem::path& directory,
                  const std::filesystem::path& output, const Log& log);

}  // namespace dtrain::launcher
