// What a run takes is the sum over its ranks, of which some read counters.

#include "train/run_energy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <optional>
#include <string>

#include "base/atomic_file.h"
#include "tests/base/temporary_directory.h"
#include "tests/train/over_ranks.h"

namespace dtrain::train {
namespace {

/// Ranks of one node, the first of which reads what its processor takes, each with a GPU.
class EnergyOverRanks : public OverRanks {
 protected:
  EnergyOverRanks() {
    processor_takes(0);
    std::filesystem::create_directories(counters / "intel-rapl:0");
    write_file_atomically(counters / "intel-rapl:0" / "name", "package-0\n");
    write_file_atomically(counters / "intel-rapl:0" / "max_energy_range_uj", "262143328850\n");
    context.device = at::Device("cuda:0");
    context.gpu_joules = [this] { return gpu; };
    if (rank() == 0) context.energy_counters = counters;
  }

  void processor_takes(int joules) const {
    std::filesystem::create_directories(counters / "intel-rapl:0");
    write_file_atomically(counters / "intel-rapl:0" / "energy_uj", std::to_string(joules) + "000000\n");
  }

  const TemporaryDirectory temporary;
  const std::filesystem::path counters = temporary.path() / "powercap";
  RunContext context = context_over(*together);
  std::optional<double> gpu = 1000.0 * (rank() + 1);
};

TEST_F(EnergyOverRanks, IsOfTheProcessorsAndEveryGpu) {
  RunEnergy energy(context);
  processor_takes(7);
  *gpu += 10;
  const Energy taken = energy.taken();
  EXPECT_DOUBLE_EQ(taken.joules, 7 + 10 * ranks());
  EXPECT_EQ(taken.of, "cpu+gpu");
}

TEST_F(EnergyOverRanks, LeavesOutPauses) {
  RunEnergy energy(context);
  *gpu += 10;
  processor_takes(1);
  energy.pause();
  *gpu += 500;
  processor_takes(100);
  energy.go_on();
  *gpu += 2;
  processor_takes(103);
  EXPECT_DOUBLE_EQ(energy.taken().joules, 4 + 12 * ranks());
}

TEST_F(EnergyOverRanks, IsOfTheGpusAloneWhereTheProcessorsDoNotTell) {
  std::filesystem::remove(counters / "intel-rapl:0" / "energy_uj");
  RunEnergy energy(context);
  *gpu += 10;
  const Energy taken = energy.taken();
  EXPECT_DOUBLE_EQ(taken.joules, 10 * ranks());
  EXPECT_EQ(taken.of, "gpu");
}

TEST_F(EnergyOverRanks, IsNotKnownWhereAGpuDoesNotTell) {
  RunEnergy energy(context);
  energy.pause();
  if (rank() == ranks() - 1) gpu = std::nullopt;
  energy.go_on();
  gpu = 5000;  // what it took meanwhile is not known
  const Energy taken = energy.taken();
  EXPECT_TRUE(std::isnan(taken.joules));
  EXPECT_EQ(taken.of, "");

  context.gpu_joules = nullptr;
  EXPECT_TRUE(std::isnan(RunEnergy(context).taken().joules)) << "no processor stands for the GPUs";
}

TEST_F(EnergyOverRanks, CountsAGpuThatRanksShareOnce) {
  if (rank() > 0) context.gpu_joules = nullptr;
  RunEnergy energy(context);
  *gpu += 10;
  EXPECT_DOUBLE_EQ(energy.taken().joules, 10);
}

TEST_F(EnergyOverRanks, IsOfTheProcessorsInARunOnThem) {
  context.device = at::kCPU;
  context.gpu_joules = nullptr;
  RunEnergy energy(context);
  processor_takes(7);
  const Energy taken = energy.taken();
  EXPECT_DOUBLE_EQ(taken.joules, 7);
  EXPECT_EQ(taken.of, "cpu");
}

}  // namespace
}  // namespace dtrain::train
