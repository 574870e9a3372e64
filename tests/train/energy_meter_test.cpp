#include "train/energy_meter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>

#include "base/atomic_file.h"
#include "tests/base/temporary_directory.h"
#include "tests/train/small_run.h"
#include "train/run_progress.h"

namespace dtrain::train {
namespace {

namespace fs = std::filesystem;

/// A folder as the kernel's.
class Counters : public testing::Test {
 protected:
  void set(const std::string& zone, const std::string& name, std::int64_t microjoules) const {
    fs::create_directories(root / zone);
    write_file_atomically(root / zone / "name", name + "\n");
    write_file_atomically(root / zone / "max_energy_range_uj", "262143328850\n");
    write_file_atomically(root / zone / "energy_uj", std::to_string(microjoules) + "\n");
  }

  const TemporaryDirectory temporary;
  const fs::path root = temporary.path() / "powercap";
};

TEST_F(Counters, OfPackagesAndMemoryAreAddedAndNoPartTwice) {
  set("intel-rapl:0", "package-0", 5'000'000);
  set("intel-rapl:1", "package-1", 1'000'000);
  set("intel-rapl:0:0", "core", 100);
  set("intel-rapl:0:1", "dram", 7);
  set("intel-rapl:2", "psys", 9);
  set("intel-rapl-mmio:0", "package-0", 5'000'000);
  EnergyMeter meter(root);
  EXPECT_EQ(meter.joules(), 0.0);
  set("intel-rapl:0", "package-0", 8'000'000);
  set("intel-rapl:1", "package-1", 1'500'000);
  set("intel-rapl:0:0", "core", 2'000'100);
  set("intel-rapl:0:1", "dram", 250'007);
  set("intel-rapl:2", "psys", 9'000'009);
  set("intel-rapl-mmio:0", "package-0", 8'000'000);
  EXPECT_DOUBLE_EQ(meter.joules().value(), 3.75);
}

TEST_F(Counters, GoOnWhereTheyWrapAround) {
  set("intel-rapl:0", "package-0", 262'143'328'850 - 1'000'000);
  EnergyMeter meter(root);
  set("intel-rapl:0", "package-0", 2'000'000);
  EXPECT_DOUBLE_EQ(meter.joules().value(), 3);
  set("intel-rapl:0", "package-0", 2'500'000);
  EXPECT_DOUBLE_EQ(meter.joules().value(), 3.5);
}

TEST_F(Counters, ThatAreNotThereOrNotReadableAreNoZero) {
  EXPECT_FALSE(EnergyMeter(root).joules());
  EXPECT_FALSE(EnergyMeter({}).joules());
  set("intel-rapl:0", "package-0", 5);
  set("intel-rapl:1", "package-1", 5);
  EXPECT_TRUE(EnergyMeter(root).joules());
  fs::remove(root / "intel-rapl:1" / "energy_uj");  // as one that only root may read
  EXPECT_FALSE(EnergyMeter(root).joules());
}

TEST_F(Counters, OfARunLeaveOutItsPauses) {
  set("intel-rapl:0", "package-0", 0);
  const auto alone = dist::make_single_communicator();
  RunContext context = context_over(*alone);
  context.energy_counters = root;
  const TrainOptions options = short_run("full", 4);
  RunProgress progress(options, context, 4);
  progress.begin_steps({}, {}, 0, 0, 0);
  set("intel-rapl:0", "package-0", 2'000'000);
  progress.pause();
  set("intel-rapl:0", "package-0", 50'000'000);
  progress.go_on();
  set("intel-rapl:0", "package-0", 51'000'000);
  EXPECT_DOUBLE_EQ(progress.energy().joules, 3);

  RunProgress resumed(options, context, 4);
  resumed.begin_steps({}, {}, 2, 1, 1);
  EXPECT_TRUE(std::isnan(resumed.energy().joules)) << "what it took before is not known";
}

}  // namespace
}  // namespace dtrain::train
