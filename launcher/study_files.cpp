#include "launcher/study_files.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>
#include <optional>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json_file.h"
#include "study/diagnosis/diagnosis.h"
#include "study/journal/journal.h"
#include "study/page/page.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSetting = "study.json";

// What `dtrain diagnose` left; nothing where it left nothing. A section is no reason to go without the report.
std::optional<study::Diagnosis> read_diagnosis(const fs::path& directory, const Log& log) {
  const fs::path file = directory / "diagnose.json";
  if (!fs::exists(file)) return std::nullopt;
  try {
    return study::diagnosis_from_json(read_json_object(file));
  } catch (const InputError& error) {
    log.warning(fmt::format("{}: not what dtrain diagnose writes ({}); the report goes without it", file.string(),
                            error.what()));
    return std::nullopt;
  }
}

}  // namespace

void write_setting(const study::Report& report, const fs::path& directory) {
  write_file_atomically(directory / kSetting, json_text(study::setting_json(report), 2) + "\n");
}

std::string begun_text(const fs::path& directory) {
  if (fs::exists(directory / kSetting)) {
    const auto setting = read_json_object(directory / kSetting);
    if (setting.contains("begun") && setting["begun"].is_string()) return setting["begun"];
  }
  return fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(std::chrono::system_clock::now()));
}

study::Report read_study(const fs::path& directory, const Log& log) {
  const fs::path journal = directory / "journal.jsonl";
  if (!fs::exists(journal)) {
    throw InputError(fmt::format("{}: expected the output directory of dtrain compare, found no journal.jsonl in it",
                                 directory.string()));
  }
  auto content = study::read_journal(journal, log);
  study::Report report = study::make_report(std::move(content.plan), std::move(content.finished), content.costs);
  report.run = content.run;
  const fs::path setting = directory / kSetting;
  if (!fs::exists(setting)) {
    log.warning(fmt::format("{}: there is no {}, so the report does not say what the study ran on", directory.string(),
                            kSetting));
    return report;
  }
  const auto json = read_json_object(setting);
  try {
    study::take_setting(json, report);
  } catch (const nlohmann::json::exception& error) {
    throw InputError(
        fmt::format("{}: not what dtrain compare writes ({}); without this file the report is made from the "
                    "journal alone",
                    setting.string(), error.what()));
  }
  return report;
}

std::string page_text(const std::vector<study::Report>& reports, const std::vector<fs::path>& directories,
                      const Log& log) {
  std::vector<study::page::Study> studies;
  for (std::size_t i = 0; i < reports.size(); ++i) {
    fs::path name = directories[i].lexically_normal();
    if (!name.has_filename()) name = name.parent_path();
    studies.push_back({&reports[i], name.string(), read_diagnosis(directories[i], log)});
  }
  return study::page::html_text(studies);
}

void write_report(const study::Report& report, const fs::path& directory, const fs::path& output, const Log& log) {
  write_file_atomically(output / "results.json", json_text(study::results_json(report), 2) + "\n");
  write_file_atomically(output / "trials.csv", study::trials_csv(report));
  write_file_atomically(output / "report.md", study::markdown_text(report));
  write_file_atomically(output / "report.html", page_text({report}, {directory}, log));
}

}  // namespace dtrain::launcher
