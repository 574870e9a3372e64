#include "launcher/terminal_log.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>

namespace dtrain::launcher {
namespace {

using Clock = std::chrono::steady_clock;

// A progress line is shown until the next output, which clears it.
class Terminal {
 public:
  void line(std::string_view text) {
    clear();
    std::fprintf(stdout, "%.*s\n", static_cast<int>(text.size()), text.data());
    std::fflush(stdout);
  }

  void warning(std::string_view text) {
    clear();
    std::fprintf(stderr, "%swarning:%s %.*s\n", interactive_ ? "\033[33m" : "", interactive_ ? "\033[0m" : "",
                 static_cast<int>(text.size()), text.data());
  }

  void progress(std::string_view text) {
    if (text.empty()) {
      clear();
      return;
    }
    const auto now = Clock::now();
    if (now - last_progress_ < (interactive_ ? std::chrono::milliseconds(200) : std::chrono::milliseconds(5000)))
      return;
    last_progress_ = now;
    if (interactive_) {
      std::fprintf(stderr, "\r\033[K%.*s", static_cast<int>(std::min(text.size(), columns() - 1)), text.data());
      shown_ = true;
    } else {
      std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
    }
    std::fflush(stderr);
  }

 private:
  void clear() {
    if (!shown_) return;
    std::fputs("\r\033[K", stderr);
    std::fflush(stderr);
    shown_ = false;
  }

  // A line that wraps could not be cleared.
  static std::size_t columns() {
    winsize size{};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
  }

  bool interactive_ = isatty(STDERR_FILENO) != 0;
  bool shown_ = false;
  Clock::time_point last_progress_ = Clock::now();
};

}  // namespace

Log terminal_log(int rank) {
  if (rank != 0) return {};
  const auto terminal = std::make_shared<Terminal>();
  return {[terminal](std::string_view text) { terminal->line(text); },
          [terminal](std::string_view text) { terminal->warning(text); },
          [terminal](std::string_view text) { terminal->progress(text); }};
}

void print_error(const std::string& message) { print_notice("error: " + message); }

void print_notice(const std::string& message) {
  std::fprintf(stderr, "%sdtrain: %s\n", isatty(STDERR_FILENO) != 0 ? "\r\033[K" : "", message.c_str());
}

}  // namespace dtrain::launcher
