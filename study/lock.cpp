#include "study/lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/atomic_file.h"
#include "base/error.h"

namespace dtrain::study {

DirectoryLock::DirectoryLock(const std::filesystem::path& directory) {
  ensure_directory(directory);
  const auto path = directory / "study.lock";
  descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw UsageError(fmt::format("cannot open {}: {}", path.string(), std::strerror(errno)));
  if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    std::array<char, 256> holder{};
    const ssize_t size = error == EWOULDBLOCK ? read(descriptor_, holder.data(), holder.size() - 1) : 0;
    close(descriptor_);
    if (error != EWOULDBLOCK) throw UsageError(fmt::format("cannot lock {}: {}", path.string(), std::strerror(error)));
    throw UsageError(
        fmt::format("another study is running in {} ({}). Wait for it, or choose another --output.", directory.string(),
                    size > 0 ? std::string(holder.data(), static_cast<std::size_t>(size)) : "just started"));
  }
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const std::string holder = fmt::format("process {} on {}", getpid(), host.data());
  // Only for the message above: a lock that cannot be signed still locks.
  if (ftruncate(descriptor_, 0) == 0) static_cast<void>(!write(descriptor_, holder.data(), holder.size()));
}

DirectoryLock::~DirectoryLock() { close(descriptor_); }

}  // namespace dtrain::study
