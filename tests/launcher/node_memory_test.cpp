#include "launcher/node_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/base/temporary_directory.h"

namespace dtrain::launcher {
namespace {

// A folder with the /proc and /sys of a process.
class NodeMemory : public testing::Test {
 protected:
  void write(const std::filesystem::path& file, const std::string& content) {
    std::filesystem::create_directories((root.path() / file).parent_path());
    root.file(file, content);
  }
  std::int64_t found() const { return node_memory(root.path()); }

  const TemporaryDirectory root;
  const std::int64_t of_machine = static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
};

TEST_F(NodeMemory, IsTheMachinesWhereNothingLimitsIt) {
  EXPECT_EQ(found(), of_machine);
  write("proc/self/cgroup", "0::/user/shell\n");
  EXPECT_EQ(found(), of_machine);
  write("sys/fs/cgroup/user/shell/memory.max", "max\n");
  write("sys/fs/cgroup/user/memory.max", "9223372036854771712\n");
  EXPECT_EQ(found(), of_machine);
}

TEST_F(NodeMemory, IsTheSmallestLimitOfTheGroupAndThoseAroundIt) {
  write("proc/self/cgroup", "0::/system/job_7/step_0\n");
  write("sys/fs/cgroup/system/job_7/step_0/memory.max", "3000000\n");
  EXPECT_EQ(found(), 3000000);
  write("sys/fs/cgroup/system/job_7/memory.max", "2000000\n");
  EXPECT_EQ(found(), 2000000);
  write("sys/fs/cgroup/system/job_8/memory.max", "1000000\n");
  EXPECT_EQ(found(), 2000000);
}

TEST_F(NodeMemory, IsTheContainersWhereItsGroupLooksLikeTheRoot) {
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/memory.max", "4000000\n");
  EXPECT_EQ(found(), 4000000);
  // Named as outside of the container.
  write("proc/self/cgroup", "0::/../docker/abc\n");
  EXPECT_EQ(found(), 4000000);
}

TEST_F(NodeMemory, IsTheLimitOfVersionOneOfControlGroups) {
  write("proc/self/cgroup", "5:cpu,cpuacct:/other\n4:hugetlb,memory:/slurm/job_7\n1:name=systemd:/\n");
  write("sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes", "5000000\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/memory/other/memory.limit_in_bytes", "1\n");
  EXPECT_EQ(found(), 5000000);
}

}  // namespace
}  // namespace dtrain::launcher
