#include "launcher/session/cut_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace dtrain::launcher {
namespace {

constexpr int kNotWhatItShouldBe = 3;

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

// The name of the file that is mapped there, or nothing.
void say_file_at(std::uintptr_t address) {
  const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  std::array<char, 5000> line{};
  std::size_t size = 0;
  char next = 0;
  while (maps >= 0 && read(maps, &next, 1) == 1) {
    if (next != '\n') {
      if (size + 1 < line.size()) line[size++] = next;
      continue;
    }
    line[size] = '\0';
    size = 0;
    if (!holds(line.data(), address)) continue;
    const char* name = std::strchr(line.data(), '/');
    if (name != nullptr) say(name);
    return;
  }
}

void end_process(int number, siginfo_t* info, void*) {
  if (info->si_code != BUS_ADRERR) {  // the memory itself has failed
    std::signal(number, SIG_DFL);
    return;
  }
  say("dtrain: error: somebody cut a file while it was read: ");
  say_file_at(reinterpret_cast<std::uintptr_t>(info->si_addr));
  say(". Start again when it is whole; replace files by renaming new ones.\n");
  _exit(kNotWhatItShouldBe);
}

}  // namespace

void note_cut_files() {
  struct sigaction action {};
  action.sa_sigaction = end_process;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace dtrain::launcher
