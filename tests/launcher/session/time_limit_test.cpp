// What ends a command before its work is done: --max-time, and the SLURM job that it is in.

#include "launcher/session/time_limit.h"

#include <gmock/gmock.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "tests/base/temporary_directory.h"

namespace dtrain::launcher {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr std::time_t kNow = 1'800'000'000;

std::optional<SlurmJob> job_of(std::map<std::string, std::string> variables) {
  return slurm_job([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

SlurmJob job_with(double seconds_left) { return {"7", kNow + static_cast<std::time_t>(seconds_left), 0}; }

Options options_of(const std::string& command, const std::string& max_time = "auto") {
  Options options;
  options.command = command;
  options.output = "out";
  options.max_time = max_time;
  return options;
}

TEST(SlurmJob, IsReadFromTheEnvironment) {
  EXPECT_FALSE(job_of({}));
  EXPECT_FALSE(job_of({{"SLURM_JOB_END_TIME", "1800000060"}}));
  const auto job = job_of({{"SLURM_JOB_ID", "7"}, {"SLURM_JOB_END_TIME", "1800000060"}, {"SLURM_RESTART_COUNT", "2"}});
  ASSERT_TRUE(job);
  EXPECT_EQ(job->id, "7");
  EXPECT_EQ(job->end, kNow + 60);
  EXPECT_EQ(job->restarts, 2);
}

TEST(SlurmJob, OfAnArrayIsNamedAsSlurmNamesIt) {
  EXPECT_EQ(job_of({{"SLURM_JOB_ID", "9"}, {"SLURM_ARRAY_JOB_ID", "7"}, {"SLURM_ARRAY_TASK_ID", "2"}})->id, "7_2");
}

TEST(SlurmJob, HasNoEndWhereSlurmTellsNone) {
  for (const char* end : {"", "0", "NONE", "12x", "-1"})
    EXPECT_FALSE(job_of({{"SLURM_JOB_ID", "7"}, {"SLURM_JOB_END_TIME", end}})->end) << end;
  EXPECT_FALSE(job_of({{"SLURM_JOB_ID", "7"}})->end);
}

/// A program by the name of squeue, before all others.
class Squeue : public testing::Test {
 protected:
  Squeue() {
    setenv("PATH", (temporary.path().string() + ":" + before).c_str(), 1);
    setenv("SQUEUE_USERS", "nobody", 1);
  }
  ~Squeue() override {
    setenv("PATH", before.c_str(), 1);
    unsetenv("SQUEUE_USERS");
  }
  Squeue(const Squeue&) = delete;
  Squeue& operator=(const Squeue&) = delete;

  void answers(const std::string& script) const {
    const auto path = temporary.path() / "squeue";
    std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  }
  static std::optional<std::time_t> end_of(const std::string& job) {
    return squeue_end(job, std::chrono::seconds(20));
  }

  const TemporaryDirectory temporary;
  const std::string before = std::getenv("PATH");
};

TEST_F(Squeue, TellsWhenAJobEnds) {
  // Of the job that is asked for, and whatever else the user has asked squeue to show.
  answers(R"(test "$*" = "--noheader --jobs=7_2 --format=%e" && test -z "$SQUEUE_USERS" && echo 2027-01-15T08:00:00)");
  std::tm local{};
  local.tm_year = 127;
  local.tm_mday = 15;
  local.tm_hour = 8;
  local.tm_isdst = -1;
  EXPECT_EQ(end_of("7_2"), std::mktime(&local));
  EXPECT_EQ(end_of("8"), std::nullopt);
}

TEST_F(Squeue, ThatTellsNoEndOrIsNotThereIsDoneWithout) {
  for (const char* said : {"NONE", "N/A", "", "2027-01-15", "2027-01-15T08:00:00 and more", "2027-01-15T08:00:00x"}) {
    answers(std::string("echo '") + said + "'");
    EXPECT_EQ(end_of("7"), std::nullopt) << said;
  }
  answers("yes 2027-01-15T08:00:00");
  EXPECT_EQ(end_of("7"), std::nullopt) << "without an end";
  setenv("PATH", "/nowhere", 1);
  EXPECT_EQ(end_of("7"), std::nullopt);
}

TEST_F(Squeue, IsNotWaitedForWithoutEndAndGivenNoneButANumber) {
  answers("exec sleep 60");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(squeue_end("7", std::chrono::milliseconds(200)), std::nullopt);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  answers("touch \"$0.asked\"; echo 2027-01-15T08:00:00");
  EXPECT_EQ(end_of("7;reboot"), std::nullopt);
  EXPECT_FALSE(std::filesystem::exists(temporary.path() / "squeue.asked"));
  EXPECT_TRUE(end_of("7"));
  EXPECT_TRUE(std::filesystem::exists(temporary.path() / "squeue.asked")) << "the test would show nothing";
}

TEST(TimeLimit, IsTheSoonerOfMaxTimeAndTheEndOfTheJob) {
  EXPECT_FALSE(time_limit(options_of("train"), std::nullopt, kNow));
  EXPECT_FALSE(time_limit(options_of("train"), SlurmJob{"7", std::nullopt, 0}, kNow));
  EXPECT_EQ(time_limit(options_of("train", "10m"), std::nullopt, kNow)->seconds, 600);
  EXPECT_EQ(time_limit(options_of("train", "10m"), job_with(3600), kNow)->source, "--max-time 10m");
  EXPECT_EQ(time_limit(options_of("train", "2h"), job_with(3600), kNow)->source, "SLURM job 7");
  EXPECT_EQ(time_limit(options_of("train"), job_with(3600), kNow)->seconds, 3600);
  EXPECT_FALSE(time_limit(options_of("train", "none"), job_with(3600), kNow));
  // Over already: it stops after its first step.
  EXPECT_LT(time_limit(options_of("train"), job_with(-5), kNow)->seconds, 0);
}

TEST(TimeLimit, KeepsATenthForTheCheckpointAndAtMostTwoMinutes) {
  EXPECT_EQ((TimeLimit{600, ""}).reserve(), 60);
  EXPECT_EQ((TimeLimit{86400, ""}).reserve(), 120);
  EXPECT_EQ((TimeLimit{-5, ""}).reserve(), 0);
}

std::string said(const Options& options, const std::optional<SlurmJob>& job) {
  return stop_plan_text(options, job, time_limit(options, job, kNow));
}

TEST(StopPlan, SaysWhatHappensOnASignalAndAtTheLimit) {
  EXPECT_EQ(said(options_of("train"), std::nullopt), "");
  EXPECT_EQ(said(options_of("train", "10m"), std::nullopt),
            "on SIGUSR1 or SIGTERM, and in 9 min 0 s (1 min 0 s before the end of --max-time 10m), it writes a "
            "checkpoint and exits with 75: --resume goes on from there");
  EXPECT_THAT(said(options_of("train"), job_with(3600)),
              AllOf(HasSubstr("SLURM job 7, ends at 2027-01-15 "), HasSubstr("in 58 min 0 s (2 min 0 s before the end of SLURM job 7)")));
  EXPECT_THAT(said(options_of("train"), job_with(-5)), HasSubstr("after its first step (the time of SLURM job 7 is over)"));
  EXPECT_THAT(said(options_of("train"), SlurmJob{"7", std::nullopt, 2}),
              AllOf(HasSubstr("SLURM job 7, started again 2 times, its end is not known (SLURM_JOB_END_TIME"),
                    HasSubstr("; on SIGUSR1 or SIGTERM it writes")));
  EXPECT_THAT(said(options_of("train", "none"), job_with(3600)),
              AllOf(HasSubstr("not heeded: --max-time none"), Not(HasSubstr("before the end"))));
  EXPECT_THAT(said(options_of("compare"), job_with(3600)), HasSubstr("keeps the trials that have ended"));
  Options unkept = options_of("train");
  unkept.output = "";
  EXPECT_THAT(said(unkept, job_with(3600)), HasSubstr("without --output nothing is kept"));
}

TEST(Restart, OfAJobGoesOnWithWhatItWroteInsteadOfRemovingIt) {
  for (const char* command : {"train", "compare", "evaluate"}) {
    for (const int restarts : {0, 1}) {
      Options options = options_of(command);
      options.overwrite = true;
      go_on_after_restart(options, SlurmJob{"7", std::nullopt, restarts});
      const bool changed = restarts > 0 && std::string(command) != "evaluate";
      EXPECT_EQ(options.resume, changed) << command;
      EXPECT_EQ(options.overwrite, !changed) << command;
      EXPECT_EQ(options.notes.empty(), !changed) << command;
    }
  }
  Options fresh = options_of("train");
  go_on_after_restart(fresh, SlurmJob{"7", std::nullopt, 1});
  EXPECT_FALSE(fresh.resume) << "a directory that holds something else is refused";
  Options elsewhere = options_of("train");
  elsewhere.overwrite = true;
  go_on_after_restart(elsewhere, std::nullopt);
  EXPECT_TRUE(elsewhere.overwrite);
}

}  // namespace
}  // namespace dtrain::launcher
