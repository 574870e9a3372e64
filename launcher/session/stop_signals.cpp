#include "launcher/session/stop_signals.h"

#include <array>
#include <csignal>

namespace dtrain::launcher {
namespace {

constexpr std::array kStopSignals = {SIGTERM, SIGUSR1};

// A signal handler can reach nothing but a global.
volatile std::sig_atomic_t stop_signal = 0;

void change_mask(int how) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : kStopSignals) sigaddset(&signals, signal);
  pthread_sigmask(how, &signals, nullptr);
}

}  // namespace

void hold_stop_signals() { change_mask(SIG_BLOCK); }

void release_stop_signals() { change_mask(SIG_UNBLOCK); }

void note_stop_signals() {
  for (const int signal : kStopSignals) std::signal(signal, [](int number) { stop_signal = number; });
}

bool stop_was_asked() { return stop_signal != 0; }

}  // namespace dtrain::launcher
