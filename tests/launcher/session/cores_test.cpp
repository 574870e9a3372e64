#include "launcher/session/cores.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cerrno>
#include <filesystem>
#include <thread>

#include "tests/base/temporary_directory.h"

namespace dtrain::launcher {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Variables with(std::initializer_list<std::pair<const char*, const char*>> variables) {
  return [variables = std::vector(variables)](const char* name) -> const char* {
    for (const auto& [known, value] : variables) {
      if (std::string(known) == name) return value;
    }
    return nullptr;
  };
}

TEST(AllowedCpus, AreFoundOnAMachineOfMoreThan1024) {
  // As the kernel of a machine with 5,000 possible CPUs answers.
  const auto kernel = [](pid_t, std::size_t bytes, cpu_set_t* set) {
    if (bytes * 8 < 5000) {
      errno = EINVAL;
      return -1;
    }
    for (const std::size_t cpu : {3, 1500, 4999}) CPU_SET_S(cpu, bytes, set);
    return 0;
  };
  EXPECT_THAT(allowed_cpus(0, kernel), ElementsAre(3, 1500, 4999));
}

TEST(AllowedCpus, AreNoneWhereTheKernelDoesNotTell) {
  const auto gone = [](pid_t, std::size_t, cpu_set_t*) {
    errno = ESRCH;
    return -1;
  };
  EXPECT_THAT(allowed_cpus(7, gone), IsEmpty());
  const auto never_enough = [](pid_t, std::size_t, cpu_set_t*) {
    errno = EINVAL;
    return -1;
  };
  EXPECT_THAT(allowed_cpus(0, never_enough), IsEmpty());
}

TEST(AllowedCpus, AreWhatAThreadIsRestrictedTo) {
  const auto all = allowed_cpus(0);
  ASSERT_FALSE(all.empty());
  std::jthread([&] {
    EXPECT_TRUE(restrict_to_cpus({all.back()}));
    EXPECT_THAT(allowed_cpus(0), ElementsAre(all.back()));
  });
  EXPECT_EQ(allowed_cpus(0), all);
  EXPECT_FALSE(restrict_to_cpus({}));
}

TEST(DefaultBinding, IsMpirunsWhereTheUserAskedForNone) {
  EXPECT_FALSE(is_bound_by_default(with({})));
  EXPECT_TRUE(is_bound_by_default(with({{"OMPI_MCA_orte_bound_at_launch", "1"}})));
  EXPECT_TRUE(is_bound_by_default(
      with({{"OMPI_MCA_orte_bound_at_launch", "1"}, {"OMPI_MCA_rmaps_base_mapping_policy", "node"}})));
  for (const auto& [name, value] :
       {std::pair("OMPI_MCA_hwloc_base_binding_policy", "core"), std::pair("OMPI_MCA_hwloc_base_cpu_set", "0"),
        std::pair("OMPI_MCA_rmaps_base_mapping_policy", "slot:PE=1")}) {
    EXPECT_FALSE(is_bound_by_default(with({{"OMPI_MCA_orte_bound_at_launch", "1"}, {name, value}}))) << name;
  }
}

TEST(LauncherProcess, IsTheNearestAncestorOfThatName) {
  const TemporaryDirectory proc;
  const auto process = [&](int id, const std::string& name, int parent) {
    std::filesystem::create_directory(proc.path() / std::to_string(id));
    proc.file(fmt::format("{}/stat", id), fmt::format("{} ({}) S {} 1 1 0 -1\n", id, name, parent));
  };
  process(100, "bash", 1);
  process(200, "mpirun", 100);
  process(300, "a (b) c) R 7", 200);
  process(400, "dtrain", 300);
  process(500, "orted", 1);
  process(600, "sh", 500);
  const std::string folder = proc.path().string();
  EXPECT_EQ(launcher_from(400, folder), 200);
  EXPECT_EQ(launcher_from(200, folder), 200);
  EXPECT_EQ(launcher_from(600, folder), 500);
  EXPECT_EQ(launcher_from(100, folder), 0);
  EXPECT_EQ(launcher_from(999, folder), 0) << "a process that is gone";
}

TEST(CoresOfAll, AreThoseOfOneRankWhileTheOthersWait) {
  const auto all = allowed_cpus(0);
  const Cores cores{static_cast<int>(all.size()), 1, all};
  ASSERT_TRUE(restrict_to_cpus({all.front()}));
  {
    const CoresOfAll scope(cores);
    EXPECT_EQ(allowed_cpus(0), all);
    std::vector<int> of_thread;
    std::jthread([&] { of_thread = allowed_cpus(0); }).join();
    EXPECT_EQ(of_thread, all);
  }
  EXPECT_THAT(allowed_cpus(0), ElementsAre(all.front()));
  {
    const CoresOfAll unknown(Cores{});
    EXPECT_THAT(allowed_cpus(0), ElementsAre(all.front()));
  }
  ASSERT_TRUE(restrict_to_cpus(all));
}

TEST(ShareOfCores, IsAnEqualPartInOrder) {
  EXPECT_THAT(share_of_cores({2, 3, 6, 7}, {0, 1}), ElementsAre(2, 3, 6, 7));
  EXPECT_THAT(share_of_cores({2, 3, 6, 7}, {1, 2}), ElementsAre(6, 7));
  EXPECT_THAT(share_of_cores({0, 1, 2, 3, 4}, {1, 2}), ElementsAre(2, 3));
  EXPECT_THAT(share_of_cores({0, 1}, {2, 4}), IsEmpty()) << "fewer cores than ranks";
  EXPECT_THAT(share_of_cores({0, 1}, {2, 2}), IsEmpty());
  EXPECT_THAT(share_of_cores({}, {0, 1}), IsEmpty());
  EXPECT_THAT(share_of_cores({0, 1}, {0, 0}), IsEmpty());
}

TEST(Placement, SharesOutWhatRanksHaveInCommonAndLeavesThemTheirOwn) {
  const auto places = [](const std::vector<std::string>& texts) {
    std::string found;
    for (int rank = 0; rank < static_cast<int>(texts.size()); ++rank) {
      const Place place = place_among_equals(texts, rank);
      found += fmt::format("{}/{} ", place.index, place.count);
    }
    return found;
  };
  EXPECT_EQ(places({"0: a,b", "0: a,b", "0: a,b"}), "0/3 1/3 2/3 ");
  EXPECT_EQ(places({"0: a", "0: b"}), "0/1 0/1 ");
  // Two sockets of two ranks each, and a second node.
  EXPECT_EQ(places({"0: a", "0: b", "0: a", "0: b", "4: a"}), "0/2 0/2 1/2 1/2 0/1 ");
}

}  // namespace
}  // namespace dtrain::launcher
