#include "base/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace dtrain {
namespace {

// Ranks of several nodes may write the same file on a shared disk, with equal process numbers where each node is a
// container.
std::string writer_name() {
  std::array<char, 65> host{};
  gethostname(host.data(), host.size() - 1);
  return fmt::format("{}.{}", host.data(), getpid());
}

// A new name must survive a power cut, too; that a name is gone likewise.
void sync_name(const std::filesystem::path& path) {
  const auto parent = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  const int directory = open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return;
  fsync(directory);
  close(directory);
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path, unsigned access)
    : path_(std::move(path)), temporary_(fmt::format("{}.{}.part", path_.string(), writer_name())) {
  // What a process of that number left, or a link that somebody put there. O_EXCL follows none.
  unlink(temporary_.c_str());
  descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, access);
  if (descriptor_ < 0) fail("create");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(temporary_.c_str());
}

void AtomicFile::write(const void* bytes, std::size_t size) {
  const auto* position = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t written = ::write(descriptor_, position, size);
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("write");
    }
    position += written;
    size -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  if (fsync(descriptor_) != 0) fail("sync");
  const int descriptor = std::exchange(descriptor_, -1);
  if (close(descriptor) != 0 || rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    unlink(temporary_.c_str());
    errno = error;
    fail("rename");
  }
  sync_name(path_);
}

void AtomicFile::fail(const char* action) const {
  const int error = errno;
  const bool is_full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  throw TrainingError(fmt::format("cannot {} {}: {}. {} another place; what was complete before is still there.",
                                  action, path_.string(), std::strerror(error),
                                  is_full ? "Free space or choose" : "Choose"));
}

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

void sync_file(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0 && errno == ENOENT) return;
  const bool failed = descriptor < 0 || fsync(descriptor) != 0;
  const int error = errno;
  if (descriptor >= 0) close(descriptor);
  if (failed) throw TrainingError(fmt::format("cannot sync {}: {}", path.string(), std::strerror(error)));
}

void take_name_away(const std::filesystem::path& path) {
  const std::filesystem::path part = path.string() + ".part";
  std::error_code error;
  std::filesystem::remove_all(part, error);
  std::filesystem::rename(path, part, error);
  if (!error) sync_name(path);
  std::filesystem::remove_all(error ? path : part, error);
}

void replace_directory(const std::filesystem::path& temporary, const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  std::filesystem::rename(temporary, path, error);
  if (error) throw TrainingError(fmt::format("cannot write {}: {}", path.string(), error.message()));
  sync_name(path);
}

std::string read_file(const std::filesystem::path& path, Readable readable) {
  const bool regular = readable == Readable::regular_file;
  // Not to wait at the opening for somebody who writes into a pipe. Of no effect on a regular file.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | (regular ? O_NONBLOCK : 0));
  struct stat status {};
  std::string content;
  std::size_t filled = 0;
  bool failed = descriptor < 0 || fstat(descriptor, &status) != 0;
  if (!failed && regular && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
    close(descriptor);
    throw InputError(fmt::format("cannot read {}: expected a regular file", path.string()));
  }
  while (!failed) {
    // One byte more than the file holds, so that its end is seen without growing; a pipe has no size and grows.
    if (filled == content.size())
      content.resize(std::max(2 * filled, static_cast<std::size_t>(std::max<off_t>(status.st_size, 0)) + 1));
    const ssize_t count = read(descriptor, content.data() + filled, content.size() - filled);
    if (count == 0) break;
    if (count > 0) filled += static_cast<std::size_t>(count);
    failed = count < 0 && errno != EINTR;
  }
  const int error = errno;
  if (descriptor >= 0) close(descriptor);
  if (failed) throw InputError(fmt::format("cannot read {}: {}", path.string(), std::strerror(error)));
  content.resize(filled);
  return content;
}

std::vector<std::filesystem::path> missing_directories(const std::filesystem::path& path) {
  std::vector<std::filesystem::path> missing;
  std::error_code error;
  for (auto each = std::filesystem::absolute(path, error).lexically_normal();
       !each.empty() && !std::filesystem::exists(each, error); each = each.parent_path()) {
    if (each.has_filename()) missing.push_back(each);
  }
  return missing;
}

void ensure_directory(const std::filesystem::path& path) {
  const auto missing = missing_directories(path);
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) throw UsageError(fmt::format("cannot create the directory {}: {}", path.string(), error.message()));
  for (const auto& made : missing) sync_name(made);
}

void ensure_private_directory(const std::filesystem::path& path) {
  if (path.has_parent_path()) ensure_directory(path.parent_path());
  if (mkdir(path.c_str(), 0700) != 0) ensure_directory(path);  // it is there, or the reason is the same
}

}  // namespace dtrain
