// What a session chooses for a rank: device, back end, precision, and what stops it.

#include <gmock/gmock.h>

#include <chrono>
#include <csignal>

#include "base/error.h"
#include "dist/communicator.h"
#include "launcher/session/agreement.h"
#include "launcher/session/backend.h"
#include "launcher/session/device.h"
#include "launcher/session/precision.h"
#include "launcher/session/stop_signals.h"
#include "tests/base/failure_of.h"
#include "tests/base/temporary_directory.h"

namespace dtrain::launcher {
namespace {

using testing::HasSubstr;

TEST(Device, IsOneGpuARankAmongThoseThatSeeTheSame) {
  EXPECT_EQ(gpu_of_rank({"0: ", "0: "}, 1, 0, 1), std::nullopt);
  EXPECT_EQ(gpu_of_rank({"0: a,b", "0: a,b", "2: a,b", "2: a,b"}, 2, 2, 1), 0);
  EXPECT_EQ(gpu_of_rank({"0: a,b", "0: a,b", "2: a,b", "2: a,b"}, 3, 2, 1), 1);
  // Each rank was given its own.
  EXPECT_EQ(gpu_of_rank({"0: a", "0: b"}, 1, 1, 1), 0);
  EXPECT_EQ(gpu_of_rank({"0: a", "0: a"}, 1, 1, 2), 0);
}

TEST(Device, IsReadByItsLowestRankAlone) {
  const std::vector<std::string> used = {"0: 3b", "0: 5e", "0: 3b", "3: 3b"};
  for (const int rank : {0, 1, 3}) EXPECT_TRUE(is_first_on_gpu(used, rank)) << rank;
  EXPECT_FALSE(is_first_on_gpu(used, 2));
}

TEST(Device, IsRefusedWhereRanksAreNotAlikeOrTooMany) {
  EXPECT_THAT(failure_of<UsageError>([] {
                gpu_of_rank({"0: a", "0: "}, 0, 1, 1);
              }),
              HasSubstr("rank 1 sees no GPU, others do"));
  EXPECT_THAT(failure_of<UsageError>([] {
                gpu_of_rank({"0: a", "0: a", "0: a"}, 0, 1, 1);
              }),
              HasSubstr("3 ranks on this node, but 1 GPU:"));
}

TEST(Backend, ServesTheDeviceAndTheRanks) {
  EXPECT_EQ(choose_backend("auto", 1, true), "single");
  EXPECT_EQ(choose_backend("auto", 2, true), "nccl");
  EXPECT_EQ(choose_backend("auto", 2, false), "mpi");
  EXPECT_EQ(choose_backend("mpi", 1, false), "mpi");
  EXPECT_THAT(failure_of<UsageError>([] { choose_backend("single", 2, false); }), HasSubstr("there are 2"));
  EXPECT_THAT(failure_of<UsageError>([] { choose_backend("mpi", 2, true); }), HasSubstr("serves the CPU"));
  EXPECT_THAT(failure_of<UsageError>([] { choose_backend("nccl", 2, false); }), HasSubstr("serves GPUs"));
}

TEST(Precision, IsNotMeasuredOnACpuWithoutBf16Instructions) {
  const auto chosen = faster_on_cpu(false, []() -> double {
    ADD_FAILURE() << "measured, at a hundredth of the speed";
    return 9;
  });
  EXPECT_EQ(chosen.name, "fp32");
  EXPECT_EQ(chosen.reason, "this CPU has no bf16 instructions");
}

TEST(Precision, IsTheFasterOneWhereThereAreInstructions) {
  const auto bf16 = faster_on_cpu(true, [] { return 2.04; });
  EXPECT_EQ(bf16.name, "bf16");
  EXPECT_EQ(bf16.reason, "bf16 measured 2.0x as fast as fp32");
  EXPECT_EQ(faster_on_cpu(true, [] { return 1.1; }).name, "fp32");
}

TEST(Precision, IsChosenWithinATenthOfASecond) {
  const auto begin = std::chrono::steady_clock::now();
  const auto chosen = faster_on_cpu(has_bf16_instructions(), measured_bf16_gain);
  // Twenty times what it takes on an idle machine.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  EXPECT_TRUE(chosen.name == "fp32" || chosen.name == "bf16");
}

TEST(Precision, IsAsAskedThenAsBeforeThenTheDefaultOfTheDevice) {
  const auto alone = dist::make_single_communicator();
  const TemporaryDirectory run;
  run.file("config.ini", "# of a run\nmax-steps = 3\nprecision = bf16\n");
  EXPECT_EQ(choose_precision(*alone, false, "fp32", run.path()).reason, "as asked");
  const auto before = choose_precision(*alone, false, "auto", run.path());
  EXPECT_EQ(before.name + ", " + before.reason, "bf16, as before");
  const auto on_gpu = choose_precision(*alone, true, "auto", {});
  EXPECT_EQ(on_gpu.name + ", " + on_gpu.reason, "bf16, the default on GPUs");
  EXPECT_EQ(precision_of_run(run.path() / "nowhere"), "");
}

TEST(Agreement, NamesTheFirstOptionThatDiffers) {
  EXPECT_EQ(first_line_not_in("a = 1\nb = 2\n", "a = 1\nb = 3\nc = 4\n"), "b = 3");
  EXPECT_EQ(first_line_not_in("a = 1\nb = 2\n", "b = 2\n"), "fewer options");
  const auto alone = dist::make_single_communicator();
  EXPECT_EQ(gather_texts(*alone, "what it says"), std::vector<std::string>{"what it says"});
}

TEST(StopSignals, AreNotedAndDoNotEndTheProcess) {
  note_stop_signals();
  EXPECT_FALSE(stop_was_asked());
  std::raise(SIGUSR1);
  EXPECT_TRUE(stop_was_asked());
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGUSR1, SIG_DFL);
}

}  // namespace
}  // namespace dtrain::launcher
