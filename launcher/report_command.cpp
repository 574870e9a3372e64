#include <fmt/format.h>

#include <filesystem>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "launcher/commands.h"
#include "launcher/output_directory.h"
#include "launcher/study_files.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

// Where the report goes: a page alone, or a directory of all its files.
struct Destination {
  fs::path page;
  fs::path directory;
};

Destination destination(const Options& options) {
  const fs::path first = options.targets[0];
  std::error_code error;
  if (options.output.empty()) {
    if (options.targets.size() > 1) {
      throw UsageError(
          "report: several studies make one page; expected a file or a directory for it (--output all.html)");
    }
    return {{}, first};
  }
  const fs::path output = options.output;
  if (options.targets.size() == 1 && fs::equivalent(output, first, error)) return {{}, first};
  if (output.extension() == ".html") {
    if (fs::exists(output, error) && !options.overwrite)
      throw UsageError(fmt::format("--output {}: the file exists; --overwrite replaces it", output.string()));
    return {output, {}};
  }
  if (fs::exists(output, error) && !fs::is_directory(output, error))
    throw UsageError(fmt::format("--output {}: expected a directory, or a file that ends in .html", output.string()));
  if (fs::exists(output, error) && !fs::is_empty(output, error) && !options.overwrite) {
    throw UsageError(
        fmt::format("--output {}: the directory is not empty; --overwrite replaces the report in it", output.string()));
  }
  return {options.targets.size() > 1 ? output / "report.html" : fs::path(), output};
}

std::string state_of(const study::Report& report, const std::string& name) {
  const study::Progress progress = report.progress();
  return fmt::format("{}: {} on {}, {} of {} trials finished{}", name, report.plan.model, report.plan.task,
                     progress.finished, progress.planned,
                     progress.finished < progress.planned ? " (partial results)" : "");
}

void make_report(const Options& options, const Log& log) {
  if (options.targets.empty())
    throw UsageError("report: expected the output directory of a study (dtrain compare), or several of them");
  const Destination to = destination(options);
  std::vector<study::Report> reports;
  std::vector<fs::path> directories;
  for (const std::string& target : options.targets) {
    directories.emplace_back(target);
    reports.push_back(read_study(directories.back(), log));
    log.line(state_of(reports.back(), target));
  }
  if (!to.directory.empty()) ensure_directory(to.directory);
  if (to.page.has_parent_path()) ensure_directory(to.page.parent_path());
  if (to.page.empty()) {
    write_report(reports[0], directories[0], to.directory, log);
    log.line(study::terminal_text(reports[0]));
  } else {
    write_file_atomically(to.page, page_text(reports, directories, log));
  }
  log.line(fmt::format("written: {}", (to.page.empty() ? to.directory / "report.html" : to.page).string()));
}

}  // namespace

void run_report(const Options& options, const Session& session) {
  on_first_rank(session, [&] { make_report(options, session.log()); });
}

}  // namespace dtrain::launcher
