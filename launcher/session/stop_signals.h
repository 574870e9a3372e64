#pragma once

namespace dtrain::launcher {

/// From now on SIGTERM and SIGUSR1, with which schedulers announce the end, are noted and do not end the process.
void note_stop_signals();

/// Whether one has come.
bool stop_was_asked();

}  // namespace dtrain::launcher
