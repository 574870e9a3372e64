#include "dist/gradient_reducer.h"
#include "dist/nccl/nccl_communicator.h"
#include "dist/rank_counters.h"
#include "tests/dist/communicator_suite.h"

namespace dtrain::dist {
namespace {

INSTANTIATE_TEST_SUITE_P(Single, CommunicatorSuite,
                         testing::Values(Backend{"single", at::kCPU, make_single_communicator}));

TEST(GradientReducer, DoesNothingOnOneRank) {
  const auto single = make_single_communicator();
  const at::Tensor gradients = at::arange(10, at::kFloat);
  GradientReducer reducer(*single, gradients, {0, 4, 10}, ShardLayout({{0, 10}}, 1, 4), ReducedTo::every_rank, true);
  reducer.ready(1);
  reducer.finish();
  EXPECT_EQ(reducer.bytes_per_step(), 0);
  EXPECT_TRUE(at::equal(gradients, at::arange(10, at::kFloat)));
}

TEST(Nccl, WithoutAGpuSaysWhatToDoInstead) {
  if (at::hasCUDA()) return;  // nccl_communicator_test.cpp then covers what there is
  const auto single = make_single_communicator();
  try {
    make_nccl_communicator(*single, std::chrono::seconds(1));
    FAIL() << "no error";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("use --backend mpi with --device cpu"));
  }
}

TEST(Nccl, SaysItsVersionWhereItIsBuiltIn) {
  EXPECT_THAT(nccl_version(), testing::MatchesRegex(nccl_is_compiled_in() ? "[0-9]+\\.[0-9]+\\.[0-9]+" : ""));
}

}  // namespace
}  // namespace dtrain::dist
