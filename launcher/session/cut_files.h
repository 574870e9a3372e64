#pragma once

namespace dtrain::launcher {

/// From now on a process that reads where a mapped file had something, and somebody has cut the file since, says which
/// file that is and ends with exit code 3; the system's answer to it (SIGBUS) would end it without a word. Where there
/// is no room for a page of what ranks share, as on a small /dev/shm, it says that, with exit code 4.
void note_cut_files();

}  // namespace dtrain::launcher
