#include "launcher/session/cut_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/error.h"

namespace dtrain::launcher {
namespace {

// All below is called by a signal handler: no memory is taken, and nothing is locked.

void say(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

// "BEGIN-END ..." of /proc/self/maps, in hexadecimal.
bool holds(const char* line, std::uintptr_t address) {
  std::array<std::uintptr_t, 2> range{};
  for (std::uintptr_t& bound : range) {
    for (; *line != '-' && *line != ' ' && *line != '\0'; ++line)
      bound = 16 * bound + static_cast<std::uintptr_t>(*line <= '9' ? *line - '0' : *line - 'a' + 10);
    if (*line != '\0') ++line;
  }
  return range[0] <= address && address < range[1];
}

using Line = std::array<char, 5000>;

// That of /proc/self/maps which tells what is mapped there; empty: none.
void read_line_of(std::uintptr_t address, Line& line) {
  const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  std::size_t size = 0;
  char next = 0;
  while (maps >= 0 && read(maps, &next, 1) == 1) {
    if (next != '\n') {
      if (size + 1 < line.size()) line[size++] = next;
      continue;
    }
    line[size] = '\0';
    size = 0;
    if (holds(line.data(), address)) return;
  }
  line[0] = '\0';
}

// "BEGIN-END rw-s ...": what dtrain reads is mapped for reading alone, what ranks share (MPI, NCCL) is not.
bool is_written(const char* line) {
  const char* rights = std::strchr(line, ' ');
  return rights != nullptr && std::strncmp(rights, " rw-s", 5) == 0;
}

void end_process(int number, siginfo_t* info, void*) {
  if (info->si_code != BUS_ADRERR) {  // the memory itself has failed, or somebody sent the signal
    std::signal(number, SIG_DFL);
    std::raise(number);
    return;
  }
  Line line{};
  read_line_of(reinterpret_cast<std::uintptr_t>(info->si_addr), line);
  const char* name = std::strchr(line.data(), '/');
  const std::string_view shown = name != nullptr ? name : "";
  if (is_written(line.data())) {
    say("dtrain: error: no room is left for what ranks of a node share: ");
    say(shown);
    say(". It needs more of the memory or the disk that holds it (of a container: --shm-size).\n");
    _exit(TrainingError::kExitCode);
  }
  say("dtrain: error: somebody cut a file while it was read: ");
  say(shown);
  say(". Start again when it is whole; replace files by renaming new ones.\n");
  _exit(InputError::kExitCode);
}

}  // namespace

void note_cut_files() {
  struct sigaction action {};
  action.sa_sigaction = end_process;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace dtrain::launcher
