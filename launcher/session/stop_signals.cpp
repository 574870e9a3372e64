#include "launcher/session/stop_signals.h"

#include <csignal>

namespace dtrain::launcher {
namespace {

// A signal handler can reach nothing but a global.
volatile std::sig_atomic_t stop_signal = 0;

}  // namespace

void note_stop_signals() {
  for (const int signal : {SIGTERM, SIGUSR1}) std::signal(signal, [](int number) { stop_signal = number; });
}

bool stop_was_asked() { return stop_signal != 0; }

}  // namespace dtrain::launcher
