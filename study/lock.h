#pragma once

#include <filesystem>

namespace dtrain::study {

/// Keeps a second study out of a directory, from construction to destruction or the end of the process, however that
/// comes. flock(2) on the file `study.lock`, which stays: removing it would let two studies lock two files of one name.
class DirectoryLock {
 public:
  /// Makes the directory where it is missing. Throws UsageError, naming the process and machine, where another study
  /// holds it.
  explicit DirectoryLock(const std::filesystem::path& directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int descriptor_;
};

}  // namespace dtrain::study
