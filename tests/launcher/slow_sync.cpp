// A disk that takes its time, for LD_PRELOAD: syncing a checkpoint's tensors takes six seconds longer.

#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

extern "C" int fsync(int descriptor) {
  char name[PATH_MAX];
  const ssize_t size = readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), name, sizeof name);
  if (size > 0 && std::string(name, static_cast<std::size_t>(size)).find("state.safetensors") != std::string::npos) {
    for (unsigned left = 6; left > 0;) left = sleep(left);  // a signal cuts it short
  }
  return static_cast<int>(syscall(SYS_fsync, descriptor));
}
