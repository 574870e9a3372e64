#pragma once

namespace dtrain::launcher {

/// SIGTERM and SIGUSR1 wait for release_stop_signals: they may come before it is known what they are to do. For the
/// thread that calls, and those that it starts meanwhile.
void hold_stop_signals();
/// Those that have come, and from now on those that come, do what they do.
void release_stop_signals();

/// From now on SIGTERM and SIGUSR1, with which schedulers announce the end, are noted and do not end the process.
void note_stop_signals();

/// Whether one has come.
bool stop_was_asked();

}  // namespace dtrain::launcher
