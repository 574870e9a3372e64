#include "launcher/output_directory.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/listing.h"
#include "dist/first_rank.h"
#include "launcher/session/agreement.h"
#include "launcher/session/slurm_job.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

// In the order in which --overwrite removes them: first what says that a run is finished, then what nothing would write
// again, and what a run goes on from, by which it is told from another, before what it writes anew.
constexpr std::array kContents = {"results.json", "model",         "adapter",      "predictions",
                                  "tensorboard",  "report.html",   "report.md",    "trials.csv",
                                  "plan.json",    "diagnose.json", "diagnose.svg", "study.json",
                                  "checkpoint",   "journal.jsonl", "log.jsonl",    "config.ini"};

// Of these what dtrain diagnose writes.
constexpr std::array kDiagnosis = {"diagnose.json", "diagnose.svg"};

// Whether there is nothing in it; a lock is nothing.
bool is_vacant(const fs::path& directory) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    if (entry.path().filename() != DirectoryLock::kFile) return false;
  }
  return true;
}

// Throws UsageError where a name that is written there is a symbolic link: a directory of somebody else's could lead
// the writing anywhere.
void refuse_links(const fs::path& directory, bool overwrite) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const fs::path name = entry.path().filename();
    // --overwrite removes what it replaces, links as such.
    const bool written = !overwrite && std::find(kContents.begin(), kContents.end(), name) != kContents.end();
    if (!entry.is_symlink(error) || (!written && name.extension() != ".part")) continue;
    throw UsageError(fmt::format(
        "--output {}: expected what dtrain wrote there, found a symbolic link, {}, and dtrain writes through "
        "none; put a directory or file in its place, or choose another --output",
        directory.string(), name.string()));
  }
}

std::string host_name() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

// Whether the file has that text, now or in a moment: a network file system may take one to show what another node
// wrote.
bool comes_to_hold(const fs::path& file, const std::string& text) {
  for (int tries = 0; tries < 20; ++tries) {
    std::ifstream stream(file);
    if (std::string found; std::getline(stream, found) && found == text) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return false;
}

// A study takes a diagnosis once.
void check_addition(const Options& options) {
  if (options.overwrite) return;
  for (const char* name : kDiagnosis) {
    if (!fs::exists(fs::path(options.output) / name)) continue;
    throw UsageError(fmt::format(
        "--output {}: the study has a diagnosis already ({}); --overwrite replaces that, and nothing else of the study",
        options.output, name));
  }
}

void prepare(const Options& options, const Session& session) {
  const fs::path output = options.output;
  std::error_code error;
  check_output(options);
  if (adds_to_study(options)) return;
  if (options.overwrite) {
    for (const char* name : kContents) take_name_away(output / name);
  }
  ensure_directory(output);
  for (const auto& directory : {output, output / "checkpoint", output / "predictions"}) remove_parts(directory);
  // A run that is resumed with other options must not lose its own: the checkpoint tells whether they fit.
  const bool has_checkpoint = fs::directory_iterator(output / "checkpoint", error) != fs::directory_iterator();
  if (options.command == "train" && options.resume && has_checkpoint) return;
  write_file_atomically(output / "config.ini", resolved_options(options, session));
}

}  // namespace

std::string resolved_options(const Options& options, const Session& session) {
  const std::string automatic = "precision = auto\n";
  std::string text = options.resolved;
  const std::size_t found = text.find(automatic);
  if (found != std::string::npos) text.replace(found, automatic.size(), "precision = " + session.precision() + "\n");
  return text;
}

fs::path study_output(const Options& options, const Log& log) {
  if (!options.output.empty()) return options.output;
  const std::string first = "dtrain-" + options.command;
  const auto numbered = [&](int number) { return fs::path(number == 1 ? first : fmt::format("{}-{}", first, number)); };
  int next = 1;
  while (!is_vacant(numbered(next)) || fs::exists(numbered(next) / DirectoryLock::kFile)) ++next;
  if (next == 1) return numbered(1);
  if (options.resume || options.overwrite) return numbered(next - 1);
  log.line(fmt::format(
      "{} holds an earlier {}--overwrite replaces it): this one goes to {}", numbered(next - 1).string(),
      options.command == "compare" ? "study (--resume goes on with it, " : "one (", numbered(next).string()));
  return numbered(next);
}

bool adds_to_study(const Options& options) {
  std::error_code error;
  return options.command == "diagnose" && fs::exists(fs::path(options.output) / "journal.jsonl", error);
}

void check_output(const Options& options) {
  const fs::path output = options.output;
  std::error_code error;
  if (fs::exists(output, error) && !fs::is_directory(output, error))
    throw UsageError(fmt::format("--output {}: it is a file", output.string()));
  if (adds_to_study(options)) {
    check_addition(options);
  } else if (!is_vacant(output) && !options.resume && !options.overwrite) {
    throw UsageError(
        fmt::format("--output {}: the directory is not empty; --resume goes on with it, --overwrite replaces what "
                    "dtrain wrote there",
                    output.string()));
  }
  refuse_links(output, options.overwrite);
  fs::path existing = fs::absolute(output).lexically_normal();
  while (!fs::exists(existing, error) && existing.has_relative_path()) existing = existing.parent_path();
  if (access(existing.c_str(), W_OK) != 0)
    throw UsageError(fmt::format("--output {}: {} is not writable", output.string(), existing.string()));
}

std::unique_ptr<DirectoryLock> lock_directory(const fs::path& directory, const std::string& command, const Log& log) {
  const auto job = slurm_job(process_environment());
  auto lock =
      std::make_unique<DirectoryLock>(directory, job ? fmt::format("{} in SLURM job {}", command, job->id) : command);
  if (!lock->is_held()) {
    log.warning(fmt::format(
        "{}: its file system has no locks, so that nothing keeps a second dtrain from writing there{}",
        directory.string(),
        lock->found().empty() ? ""
                              : fmt::format("; {} has not said that it ended: make sure that it did", lock->found())));
  } else if (!lock->found().empty()) {
    log.line(fmt::format("{}: takes over the lock that {} left when it was killed or its machine failed",
                         directory.string(), lock->found()));
  }
  return lock;
}

void warn_where_not_shared(const Session& session, const DirectoryLock* lock) {
  auto& control = session.control();
  // By the path, and who signed it: there may be a directory of the same name.
  const std::string file = gather_texts(control, lock != nullptr ? lock->file().string() : "").at(0);
  const std::string signature = gather_texts(control, lock != nullptr ? lock->signature() : "").at(0);
  const auto nodes = gather_texts(control, comes_to_hold(file, signature) ? "" : host_name());
  if (!nodes[0].empty()) return;  // a file that could not be signed, as on a full disk, tells nothing
  const std::set<std::string> found(nodes.begin(), nodes.end());
  const std::vector<std::string> names(std::next(found.begin()), found.end());  // the first is rank 0's ""
  if (names.empty()) return;
  session.log().warning(
      fmt::format("{} is not on a disk that all nodes share: {} {} not see it. A run that is started again on other "
                  "nodes would not "
                  "find what this one wrote; name another --output.",
                  fs::path(file).parent_path().string(), capped_list(names), names.size() == 1 ? "does" : "do"));
}

std::unique_ptr<DirectoryLock> lock_output(const Options& options, const Session& session) {
  if (options.output.empty() || options.command == "compare" || options.command == "diagnose" ||
      options.command == "report")
    return nullptr;
  std::unique_ptr<DirectoryLock> lock;
  on_first_rank(session, [&] {
    check_output(options);  // nothing is touched in a directory that is refused
    lock = lock_directory(options.output, options.command, session.log());
  });
  warn_where_not_shared(session, lock.get());
  return lock;
}

void remove_parts(const fs::path& directory) {
  std::error_code error;
  std::vector<fs::path> parts;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    if (entry.path().extension() == ".part") parts.push_back(entry.path());
  }
  for (const auto& part : parts) fs::remove_all(part, error);
}

void on_first_rank(const Session& session, const std::function<void()>& action) {
  const dist::TimeoutScope patience = dist::wait_for_files(session.control());
  dist::on_first_rank(session.control(), action);
}

void prepare_output(const Options& options, const Session& session) {
  on_first_rank(session, [&] { prepare(options, session); });
}

}  // namespace dtrain::launcher
