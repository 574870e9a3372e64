#include "launcher/study_files.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json_file.h"
#include "study/figures/plain_svg.h"
#include "study/journal.h"
#include "study/page/page.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSetting = "study.json";

// What `dtrain diagnose` leaves: its words in diagnose.json, its figure in diagnose.svg.
void take_diagnosis(const fs::path& directory, study::page::Study& shown, const Log& log) {
  const fs::path words = directory / "diagnose.json";
  const fs::path figure = directory / "diagnose.svg";
  if (fs::exists(words)) {
    try {
      shown.diagnosis = read_json_object(words).value("words", shown.diagnosis);
    } catch (const nlohmann::json::exception& error) {
      throw InputError(fmt::format("{}: 'words': expected a list of texts ({})", words.string(), error.what()));
    }
  }
  if (!fs::exists(figure)) return;
  std::string svg = read_file(figure);
  if (study::figures::is_plain_svg(svg)) {
    shown.diagnosis_svg = std::move(svg);
  } else {
    log.warning(fmt::format("{}: expected one <svg> element of shapes and text, found something else; it is left out",
                            figure.string()));
  }
}

}  // namespace

void write_setting(const study::Report& report, const fs::path& directory) {
  write_file_atomically(directory / kSetting, study::setting_json(report).dump(2) + "\n");
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
    studies.push_back({&reports[i], name.string(), {}, {}});
    take_diagnosis(directories[i], studies.back(), log);
  }
  return study::page::html_text(studies);
}

void write_report(const study::Report& report, const fs::path& directory, const fs::path& output, const Log& log) {
  write_file_atomically(output / "results.json", study::results_json(report).dump(2) + "\n");
  write_file_atomically(output / "trials.csv", study::trials_csv(report));
  write_file_atomically(output / "report.md", study::markdown_text(report));
  write_file_atomically(output / "report.html", page_text({report}, {directory}, log));
}

}  // namespace dtrain::launcher
