#include "dist/node_bytes.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <string>

#include "dist/mpi/mpi_communicator.h"

namespace dtrain::dist {
namespace {

constexpr std::size_t kSize = 3'000'001;

void write_pattern(std::span<std::byte> bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7 % 251);
}

bool has_pattern(std::span<const std::byte> bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != static_cast<std::byte>(i * 7 % 251)) return false;
  }
  return bytes.size() == kSize;
}

// Of the mapping at an address, a line of /proc/self/smaps in KiB; -1: it is none of a file in memory.
std::int64_t mapping_kib(const void* address, const std::string& name) {
  std::ifstream maps("/proc/self/smaps");
  bool is_there = false;
  for (std::string line; std::getline(maps, line);) {
    if (const auto dash = line.find('-'); dash != std::string::npos && dash < line.find(' ')) {
      is_there = line.find("memfd:dtrain") != std::string::npos &&
                 std::stoull(line.substr(0, dash), nullptr, 16) == reinterpret_cast<std::uintptr_t>(address);
    }
    if (is_there && line.starts_with(name)) return std::stoll(line.substr(name.size()));
  }
  return -1;
}

// Sets a limit of the process lower for a while.
class Limit {
 public:
  Limit(int resource, rlim_t limit) : resource_(static_cast<__rlimit_resource_t>(resource)) {
    getrlimit(resource_, &before_);
    const rlimit now{limit, before_.rlim_max};
    setrlimit(resource_, &now);
  }
  ~Limit() { setrlimit(resource_, &before_); }
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;

 private:
  __rlimit_resource_t resource_;
  rlimit before_{};
};

class BytesOfANode : public testing::Test {
 protected:
  NodeBytes share() {
    // What the other ranks say of the size does not count.
    return share_bytes(*world, world->rank() == 0 ? kSize : 1, [&](std::span<std::byte> bytes) {
      ++written;
      write_pattern(bytes);
    });
  }

  const std::unique_ptr<Communicator> world = make_mpi_communicator(MPI_COMM_WORLD, std::chrono::seconds(60));
  const int last = world->size() - 1;
  int written = 0;
};

TEST_F(BytesOfANode, AreWrittenOnceAndTheSameMemoryForAll) {
  const auto shared = share();
  EXPECT_TRUE(has_pattern(shared.bytes));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(shared.bytes.data()) % 64, 0U);
  EXPECT_EQ(written, world->rank() == 0 ? 1 : 0);
  // All of it is there, and none of it a copy of this rank's own.
  EXPECT_GE(mapping_kib(shared.bytes.data(), "Rss:"), static_cast<std::int64_t>(kSize / 1024));
  EXPECT_EQ(mapping_kib(shared.bytes.data(), "Anonymous:"), 0);
  world->barrier();
}

TEST_F(BytesOfANode, ThatARankWritesToAreItsOwnFromThenOn) {
  const auto shared = share();
  world->barrier();
  if (world->rank() == last) std::fill(shared.bytes.begin(), shared.bytes.end(), std::byte{1});
  world->barrier();
  if (world->rank() != last || last == 0) {
    EXPECT_EQ(has_pattern(shared.bytes), last != 0);
  }
  world->barrier();
}

TEST_F(BytesOfANode, LiveAsLongAsTheirKeeper) {
  auto shared = share();
  const auto keeper = shared.keeper;
  const std::span<const std::byte> bytes = shared.bytes;
  shared = {};
  EXPECT_TRUE(has_pattern(bytes));
}

TEST_F(BytesOfANode, AreSentWhereARankCannotReachTheMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "not run: a sanitizer opens files of its own to look at an address";
#endif
  world->barrier();
  NodeBytes shared;
  if (world->rank() == last && last > 0) {
    const Limit no_files(RLIMIT_NOFILE, 0);
    shared = share();
  } else {
    shared = share();
  }
  EXPECT_TRUE(has_pattern(shared.bytes));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(shared.bytes.data()) % 64, 0U);
  if (last > 0) {
    EXPECT_EQ(mapping_kib(shared.bytes.data(), "Rss:"), -1);
  }
}

TEST_F(BytesOfANode, AreSentWhereThereIsNoSuchMemory) {
  world->barrier();
  // The kernel refuses to let the file grow.
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  NodeBytes shared;
  {
    const Limit no_growth(RLIMIT_FSIZE, 0);
    shared = share();
  }
  std::signal(SIGXFSZ, before);
  EXPECT_TRUE(has_pattern(shared.bytes));
  EXPECT_EQ(mapping_kib(shared.bytes.data(), "Rss:"), -1);
}

}  // namespace
}  // namespace dtrain::dist
