#include "base/directory_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/atomic_file.h"
#include "base/error.h"

namespace dtrain {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const char* action, const fs::path& path, int error) {
  throw UsageError(fmt::format("cannot {} {}: {}", action, path.string(), std::strerror(error)));
}

std::string text_in(int descriptor) {
  std::array<char, 512> text{};
  const ssize_t size = pread(descriptor, text.data(), text.size(), 0);
  return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

// Whether `path` still names the open file: a holder removes it when it ends.
bool still_names(const fs::path& path, int descriptor) {
  struct stat opened {};
  struct stat named {};
  return fstat(descriptor, &opened) == 0 && stat(path.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

}  // namespace

DirectoryLock::DirectoryLock(const fs::path& directory, const std::string& command, int (*lock_file)(int, int))
    : path_(fs::absolute(directory) / kFile), made_(missing_directories(directory)) {
  for (bool is_named = false; !is_named;) {
    ensure_directory(directory);
    descriptor_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (descriptor_ < 0 && errno == ENOENT) continue;  // a holder that ended took its directory along
    if (descriptor_ < 0) fail("open", path_, errno);
    if (lock_file(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      const int error = errno;
      is_held_ = error != ENOSYS && error != EOPNOTSUPP && error != ENOLCK;
      if (!is_held_) break;
      const std::string holder = text_in(descriptor_);
      close(descriptor_);
      if (error != EWOULDBLOCK) fail("lock", path_, error);
      throw UsageError(fmt::format("another dtrain works in {} ({}). Wait for it, or choose another --output.",
                                   directory.string(), holder.empty() ? "just started" : holder));
    }
    is_named = still_names(path_, descriptor_);
    if (!is_named) close(descriptor_);
  }
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  signature_ = fmt::format("{}, process {} on {}", command, getpid(), host.data());
  found_ = text_in(descriptor_);
  // Only for messages: a lock that cannot be signed still locks.
  if (ftruncate(descriptor_, 0) == 0)
    static_cast<void>(!pwrite(descriptor_, signature_.data(), signature_.size(), 0));
}

DirectoryLock::~DirectoryLock() {
  // Without a lock it may be another's by now.
  if (is_held_ || (still_names(path_, descriptor_) && text_in(descriptor_) == signature_)) unlink(path_.c_str());
  close(descriptor_);
  for (const auto& directory : made_) {
    if (rmdir(directory.c_str()) != 0) break;
  }
}

}  // namespace dtrain
