#include "launcher/session/slurm_job.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <string_view>
#include <thread>
#include <vector>

namespace dtrain::launcher {
namespace {

template <typename Number>
std::optional<Number> number(const Variables& variables, const char* name) {
  const char* value = variables(name);
  if (value == nullptr) return std::nullopt;
  const std::string_view text = value;
  Number result = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), result);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(result) : std::nullopt;
}

// The environment without what a user may have set to have squeue show other jobs, or times in another form.
std::vector<char*> environment_of_squeue() {
  std::vector<char*> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!text.starts_with("SQUEUE_") && !text.starts_with("SLURM_TIME_FORMAT=")) variables.push_back(*entry);
  }
  variables.push_back(nullptr);
  return variables;
}

// What a program writes to its standard output until it ends or `patience` is over; it does not outlive this. No shell
// reads the arguments, and no handler of fork is called, of which MPI warns. Nothing where there is no such program.
std::string output_of(std::vector<std::string> arguments, std::vector<char*> environment,
                      std::chrono::milliseconds patience) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return "";
  std::vector<char*> texts;
  for (std::string& argument : arguments) texts.push_back(argument.data());
  texts.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const bool started = posix_spawnp(&child, texts[0], &actions, nullptr, texts.data(), environment.data()) == 0;
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  std::string output;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (started && output.size() < 1000) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd waited{ends[0], POLLIN, 0};
    const int ready = left > 0 ? poll(&waited, 1, static_cast<int>(left)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    std::array<char, 256> bytes{};
    const ssize_t size = ready > 0 ? read(ends[0], bytes.data(), bytes.size()) : 0;
    if (size <= 0) break;
    output.append(bytes.data(), static_cast<std::size_t>(size));
  }
  close(ends[0]);
  if (started) {
    kill(child, SIGKILL);
    // One that hangs in the kernel, on a file system that is gone, is left.
    for (int tries = 0; tries < 100 && waitpid(child, nullptr, WNOHANG) == 0; ++tries)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return output;
}

}  // namespace

std::optional<SlurmJob> slurm_job(const Variables& variables) {
  const char* id = variables("SLURM_JOB_ID");
  if (id == nullptr || *id == '\0') return std::nullopt;
  SlurmJob job{id, number<std::time_t>(variables, "SLURM_JOB_END_TIME"),
               number<int>(variables, "SLURM_RESTART_COUNT").value_or(0)};
  if (job.end && *job.end <= 0) job.end.reset();
  const char* array = variables("SLURM_ARRAY_JOB_ID");
  const char* index = variables("SLURM_ARRAY_TASK_ID");
  if (array != nullptr && index != nullptr) job.id = std::string(array) + "_" + index;
  return job;
}

std::optional<std::time_t> squeue_end(const std::string& job, std::chrono::milliseconds patience) {
  if (job.find_first_not_of("0123456789_") != std::string::npos) return std::nullopt;
  const std::string said =
      output_of({"squeue", "--noheader", "--jobs=" + job, "--format=%e"}, environment_of_squeue(), patience);
  // Local time, in the time zone of both.
  std::tm local{};
  local.tm_isdst = -1;
  const char* end = strptime(said.c_str(), "%Y-%m-%dT%H:%M:%S", &local);
  if (end == nullptr || std::string_view(end).find_first_not_of(" \n") != std::string_view::npos) return std::nullopt;
  const std::time_t time = std::mktime(&local);
  return time > 0 ? std::optional(time) : std::nullopt;
}

}  // namespace dtrain::launcher
