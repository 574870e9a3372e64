#include "launcher/node_memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

// The smallest number in the files of this name in `group` below `mount`, and in the groups around it. The group may be
// named as it is outside of the container, whose own is then at `mount`.
std::int64_t smallest_limit(const fs::path& mount, const fs::path& group, const char* name, std::int64_t least) {
  fs::path directory = mount;
  const auto read = [&] {
    std::int64_t limit = 0;
    // "max" is no number: no limit.
    if (std::ifstream(directory / name) >> limit) least = std::min(least, limit);
  };
  read();
  for (const fs::path& part : group.lexically_normal().relative_path()) {
    directory /= part;
    read();
  }
  return least;
}

}  // namespace

// Neither the standard library nor LibTorch nor hwloc knows of control groups.
std::int64_t node_memory(const fs::path& root) {
  std::int64_t memory = static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  // cgroups(7), /proc/[pid]/cgroup: "0::/group" in version 2, "4:cpu,memory:/group" in version 1.
  std::ifstream file(root / "proc/self/cgroup");
  const fs::path mount = root / "sys/fs/cgroup";
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const fs::path group = line.substr(second + 1);
    if (controllers == ",,") memory = smallest_limit(mount, group, "memory.max", memory);
    if (controllers.find(",memory,") != std::string::npos) {
      memory = smallest_limit(mount / "memory", group, "memory.limit_in_bytes", memory);
    }
  }
  return memory;
}

}  // namespace dtrain::launcher
