// What a process does to the files below a folder, for LD_PRELOAD. TEST_RECORDED_FOLDER names the folder (absolute, no
// links), TEST_RECORD the log, elsewhere. A record of it is a line of five fields between tabs (operation, path, second
// path, number, size of the data), then so many bytes and a newline. Operations that succeeded alone, in their order:
//
//   create, mkdir, unlink, rmdir, sync PATH     rename, link FROM TO     symlink NAME TARGET
//   truncate PATH, to NUMBER bytes              write PATH, DATA at NUMBER
//
// What else could change a file is recorded as "unknown", for the test to fail.

#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>

#include "tests/launcher/interposed_open.h"

namespace {

std::recursive_mutex& order() {
  static std::recursive_mutex mutex;
  return mutex;
}
using Lock = std::lock_guard<std::recursive_mutex>;

std::string path_of(int descriptor) {
  char name[PATH_MAX];
  const ssize_t size = readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), name, sizeof name);
  return size > 0 ? std::string(name, static_cast<std::size_t>(size)) : std::string();
}

// Absolute, without "." and "..".
std::string path_of(int directory, const char* name) {
  std::string_view rest(name);
  std::string path;
  if (!rest.starts_with('/')) {
    char folder[PATH_MAX];
    if (directory != AT_FDCWD) {
      path = path_of(directory);
    } else if (getcwd(folder, sizeof folder) != nullptr) {
      path = folder;
    }
  }
  while (!rest.empty()) {
    const std::string_view part = rest.substr(0, rest.find('/'));
    rest.remove_prefix(part.size() == rest.size() ? part.size() : part.size() + 1);
    if (part == "..") {
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    } else if (!part.empty() && part != ".") {
      path.append("/").append(part);
    }
  }
  return path;
}

bool is_watched(const std::string& path) {
  static const char* folder = std::getenv("TEST_RECORDED_FOLDER");
  return folder != nullptr && (path + "/").starts_with(std::string(folder) + "/");
}

bool is_there(const std::string& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0;
}

void record(const char* operation, const std::string& path, const std::string& second = "", off_t number = 0,
            std::string_view data = "") {
  if (!is_watched(path) && !is_watched(second)) return;
  const int error = errno;
  static const int log = static_cast<int>(
      syscall(SYS_openat, AT_FDCWD, std::getenv("TEST_RECORD"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  std::string text = std::string(operation) + "\t" + path + "\t" + second + "\t" + std::to_string(number) + "\t" +
                     std::to_string(data.size()) + "\n";
  text.append(data).append("\n");
  if (syscall(SYS_write, log, text.data(), text.size()) != static_cast<long>(text.size())) abort();
  errno = error;
}

template <typename Call>
auto recorded_opening(int directory, const char* name, bool creates, bool truncates, const Call& call) {
  const Lock lock(order());
  const std::string path = creates || truncates ? path_of(directory, name) : std::string();
  const bool was_there = is_watched(path) && is_there(path);
  const auto opened = call();
  if (path.empty() || opened == decltype(opened)(-1)) return opened;
  if (!was_there) {
    record("create", path);
  } else if (truncates) {
    record("truncate", path);
  }
  return opened;
}

int opened(int directory, const char* name, int flags, mode_t mode) {
  return recorded_opening(directory, name, (flags & O_CREAT) != 0, (flags & O_TRUNC) != 0,
                          [&] { return static_cast<int>(syscall(SYS_openat, directory, name, flags, mode)); });
}

FILE* opened_stream(const char* symbol, const char* name, const char* mode) {
  using Function = FILE* (*)(const char*, const char*);
  const auto next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, symbol));
  const bool writes = mode[0] != 'r';
  FILE* stream = nullptr;
  recorded_opening(AT_FDCWD, name, writes, mode[0] == 'w', [&] {
    stream = next(name, mode);
    return stream == nullptr ? -1 : 0;
  });
  return stream;
}

// Where the write that has just ended began.
off_t beginning(int descriptor, ssize_t size) { return lseek(descriptor, 0, SEEK_CUR) - size; }

int done(long result, const char* operation, const std::string& path, const std::string& second = "",
         off_t number = 0) {
  if (result == 0) record(operation, path, second, number);
  return static_cast<int>(result);
}

ssize_t unknown(long result, const char* call, int descriptor) {
  if (result >= 0) record("unknown", path_of(descriptor), call);
  return result;
}

}  // namespace

extern "C" {

int creat(const char* name, mode_t mode) { return opened(AT_FDCWD, name, O_WRONLY | O_CREAT | O_TRUNC, mode); }
int creat64(const char* name, mode_t mode) { return opened(AT_FDCWD, name, O_WRONLY | O_CREAT | O_TRUNC, mode); }
FILE* fopen(const char* name, const char* mode) { return opened_stream("fopen", name, mode); }
FILE* fopen64(const char* name, const char* mode) { return opened_stream("fopen64", name, mode); }

ssize_t write(int descriptor, const void* bytes, size_t size) {
  const Lock lock(order());
  const ssize_t written = syscall(SYS_write, descriptor, bytes, size);
  if (written > 0) {
    if (const std::string path = path_of(descriptor); is_watched(path)) {
      record("write", path, "", beginning(descriptor, written),
             {static_cast<const char*>(bytes), static_cast<size_t>(written)});
    }
  }
  return written;
}
ssize_t writev(int descriptor, const struct iovec* parts, int count) {
  const Lock lock(order());
  const ssize_t written = syscall(SYS_writev, descriptor, parts, count);
  if (written > 0) {
    if (const std::string path = path_of(descriptor); is_watched(path)) {
      std::string bytes;
      for (int i = 0; i < count; ++i) bytes.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
      record("write", path, "", beginning(descriptor, written),
             std::string_view(bytes).substr(0, static_cast<size_t>(written)));
    }
  }
  return written;
}
ssize_t pwrite(int descriptor, const void* bytes, size_t size, off_t offset) {
  const Lock lock(order());
  const ssize_t written = syscall(SYS_pwrite64, descriptor, bytes, size, offset);
  if (written > 0)
    record("write", path_of(descriptor), "", offset, {static_cast<const char*>(bytes), static_cast<size_t>(written)});
  return written;
}
ssize_t pwrite64(int descriptor, const void* bytes, size_t size, off64_t offset) {
  return pwrite(descriptor, bytes, size, offset);
}

int ftruncate(int descriptor, off_t size) {
  const Lock lock(order());
  return done(syscall(SYS_ftruncate, descriptor, size), "truncate", path_of(descriptor), "", size);
}
int ftruncate64(int descriptor, off64_t size) { return ftruncate(descriptor, size); }
int truncate(const char* name, off_t size) {
  const Lock lock(order());
  return done(syscall(SYS_truncate, name, size), "truncate", path_of(AT_FDCWD, name), "", size);
}
int truncate64(const char* name, off64_t size) { return truncate(name, size); }

int fsync(int descriptor) {
  const Lock lock(order());
  return done(syscall(SYS_fsync, descriptor), "sync", path_of(descriptor));
}
int fdatasync(int descriptor) {
  const Lock lock(order());
  return done(syscall(SYS_fdatasync, descriptor), "sync", path_of(descriptor));
}

int renameat2(int from_directory, const char* from, int to_directory, const char* to, unsigned flags) {
  const Lock lock(order());
  const long result = syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
  return done(result, flags == 0 ? "rename" : "unknown", path_of(from_directory, from), path_of(to_directory, to));
}
int renameat(int from_directory, const char* from, int to_directory, const char* to) {
  return renameat2(from_directory, from, to_directory, to, 0);
}
int rename(const char* from, const char* to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int linkat(int from_directory, const char* from, int to_directory, const char* to, int flags) {
  const Lock lock(order());
  const long result = syscall(SYS_linkat, from_directory, from, to_directory, to, flags);
  return done(result, "link", path_of(from_directory, from), path_of(to_directory, to));
}
int link(const char* from, const char* to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
int symlinkat(const char* target, int directory, const char* name) {
  const Lock lock(order());
  return done(syscall(SYS_symlinkat, target, directory, name), "symlink", path_of(directory, name), target);
}
int symlink(const char* target, const char* name) { return symlinkat(target, AT_FDCWD, name); }

int unlinkat(int directory, const char* name, int flags) {
  const Lock lock(order());
  return done(syscall(SYS_unlinkat, directory, name, flags), (flags & AT_REMOVEDIR) != 0 ? "rmdir" : "unlink",
              path_of(directory, name));
}
int unlink(const char* name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char* name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int remove(const char* name) {
  const int result = unlinkat(AT_FDCWD, name, 0);
  return result != 0 && (errno == EISDIR || errno == EPERM) ? rmdir(name) : result;
}
int mkdirat(int directory, const char* name, mode_t mode) {
  const Lock lock(order());
  return done(syscall(SYS_mkdirat, directory, name, mode), "mkdir", path_of(directory, name));
}
int mkdir(const char* name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

ssize_t sendfile(int to, int from, off_t* offset, size_t count) {
  return unknown(syscall(SYS_sendfile, to, from, offset, count), "sendfile", to);
}
ssize_t sendfile64(int to, int from, off64_t* offset, size_t count) { return sendfile(to, from, offset, count); }
ssize_t copy_file_range(int from, off64_t* from_offset, int to, off64_t* to_offset, size_t count, unsigned flags) {
  return unknown(syscall(SYS_copy_file_range, from, from_offset, to, to_offset, count, flags), "copy_file_range", to);
}
int fallocate(int descriptor, int mode, off_t offset, off_t size) {
  return static_cast<int>(unknown(syscall(SYS_fallocate, descriptor, mode, offset, size), "fallocate", descriptor));
}

}  // extern "C"
