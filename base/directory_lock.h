#pragma once

#include <sys/file.h>

#include <filesystem>
#include <string>
#include <vector>

namespace dtrain {

/// Keeps every other dtrain out of a directory, from construction to destruction or the end of the process, however
/// that comes. flock(2) on a file there, which goes with the lock; one that a killed process left locks nobody out.
class DirectoryLock {
 public:
  /// The name of the file.
  static constexpr const char* kFile = "dtrain.lock";

  /// Makes the directory where it is missing. Throws UsageError, naming command, process and machine, where another
  /// holds it. `command`: what this one does there ("train"). `lock_file`: flock(2), or a test's own.
  DirectoryLock(const std::filesystem::path& directory, const std::string& command,
                int (*lock_file)(int descriptor, int operation) = flock);
  /// Removes the file, and the directories that the lock made where nothing else is in them.
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

  /// False where the file system has no locks (as Lustre without its mount option): then nobody is kept out.
  bool is_held() const { return is_held_; }

 private:
  std::filesystem::path path_;
  std::vector<std::filesystem::path> made_;  // the innermost first
  int descriptor_ = -1;
  bool is_held_ = true;
};

}  // namespace dtrain
