#include "launcher/session/time_limit.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace dtrain::launcher {
namespace {

constexpr double kMostReserve = 120;

std::string restarts_text(int restarts) {
  return restarts == 0 ? "" : fmt::format(", started again {} time{}", restarts, restarts == 1 ? "" : "s");
}

std::string end_text(const Options& options, const SlurmJob& job) {
  if (job.end) {
    std::tm local{};
    localtime_r(&*job.end, &local);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
    return fmt::format(", ends at {}{}", text, options.max_time == "none" ? " (not heeded: --max-time none)" : "");
  }
  return ", its end is not known (SLURM_JOB_END_TIME is not set, and squeue tells none; --max-time does)";
}

// What is there afterwards, and how to go on.
std::string kept_text(const Options& options) {
  if (options.command == "compare") return "keeps the trials that have ended, and exits with 75: --resume goes on";
  if (options.output.empty()) return "exits with 75; without --output nothing is kept";
  return "writes a checkpoint and exits with 75: --resume goes on from there";
}

}  // namespace

double TimeLimit::reserve() const { return std::clamp(seconds / 10, 0.0, kMostReserve); }

std::optional<TimeLimit> time_limit(const Options& options, const std::optional<SlurmJob>& job, std::time_t now) {
  std::optional<TimeLimit> limit;
  if (const auto asked = max_seconds(options)) limit = {*asked, "--max-time " + options.max_time};
  if (options.max_time == "none" || !job || !job->end) return limit;
  const double left = std::difftime(*job->end, now);
  if (!limit || left < limit->seconds) limit = {left, "SLURM job " + job->id};
  return limit;
}

std::string stop_plan_text(const Options& options, const std::optional<SlurmJob>& job,
                           const std::optional<TimeLimit>& limit) {
  if (!job && !limit) return "";
  std::string text;
  if (job) text = fmt::format("SLURM job {}{}{}; ", job->id, restarts_text(job->restarts), end_text(options, *job));
  text += "on SIGUSR1 or SIGTERM";
  if (limit && limit->seconds <= 0) {
    text += fmt::format(", and after its first step (the time of {} is over),", limit->source);
  } else if (limit) {
    text += fmt::format(", and in {} ({} before the end of {}),", duration_text(limit->seconds - limit->reserve()),
                        duration_text(limit->reserve()), limit->source);
  }
  return text + " it " + kept_text(options);
}

void go_on_after_restart(Options& options, const std::optional<SlurmJob>& job) {
  if (!job || job->restarts == 0 || !options.overwrite) return;
  if (options.command != "train" && options.command != "compare") return;
  options.overwrite = false;
  options.resume = true;
  options.notes.push_back(fmt::format(
      "SLURM has started job {} again: --overwrite would remove what it wrote, and is taken for --resume", job->id));
}

}  // namespace dtrain::launcher
