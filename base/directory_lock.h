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
  /// holds it. `command`: what this one does there ("train in SLURM job 7"). `lock_file`: flock(2), or a test's own.
  DirectoryLock(const std::filesystem::path& directory, const std::string& command,
                int (*lock_file)(int descriptor, int operation) = flock);
  /// Removes the file, and the directories that the lock made where nothing else is in them.
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

  /// False where the file system has no locks (as Lustre without its mount option): then nobody is kept out.
  bool is_held() const { return is_held_; }
  /// Who signed the file that was found there, and did not remove it: it was killed, its machine died, or, where the lock
  /// is not held, it still works there. Empty: nobody.
  const std::string& found() const { return found_; }
  /// Absolute.
  const std::filesystem::path& file() const { return path_; }
  /// This one's own signature in the file: "train, process 12 on n1".
  const std::string& signature() const { return signature_; }

 private:
  std::filesystem::path path_;
  std::vector<std::filesystem::path> made_;  // the innermost first
  int descriptor_ = -1;
  bool is_held_ = true;
  std::string found_;
  std::string signature_;
};

}  // namespace dtrain
