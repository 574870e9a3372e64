#include "launcher/session/launch_variables.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <map>

#include "base/error.h"
#include "tests/base/failure_of.h"

namespace dtrain::launcher {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Variables environment(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
}

std::string refusal_of_launch(int ranks, std::map<std::string, std::string> variables) {
  return failure_of<UsageError>([&] { check_world_size(ranks, environment(std::move(variables))); });
}

TEST(LaunchedRank, IsWhatTheLauncherSays) {
  EXPECT_EQ(launched_rank(environment({})), std::nullopt);
  EXPECT_EQ(launched_rank(environment({{"OMPI_COMM_WORLD_RANK", "3"}})), "3");
  EXPECT_EQ(launched_rank(environment({{"PMIX_RANK", "2"}})), "2");
  EXPECT_EQ(launched_rank(environment({{"PMI_RANK", "1"}})), "1");
}

TEST(CopiedEnvironment, KeepsWhatIsChangedLater) {
  setenv("DTRAIN_TEST_OF_A_COPY", "a=b", 1);
  const Variables before = copied_environment();
  setenv("DTRAIN_TEST_OF_A_COPY", "other", 1);
  EXPECT_STREQ(before("DTRAIN_TEST_OF_A_COPY"), "a=b");
  unsetenv("DTRAIN_TEST_OF_A_COPY");
  EXPECT_EQ(copied_environment()("DTRAIN_TEST_OF_A_COPY"), nullptr);
}

TEST(WorldSize, OfMoreRanksThanMpiSeesIsRefusedWhoeverStartedThem) {
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "WORLD_SIZE"}) {
    EXPECT_THAT(refusal_of_launch(1, {{variable, "2"}}),
                AllOf(HasSubstr("started 2 ranks (" + std::string(variable) + "=2)"), HasSubstr("MPI sees 1")));
  }
  EXPECT_THAT(refusal_of_launch(1, {{"WORLD_SIZE", "8"}}), AllOf(HasSubstr("torchrun"), HasSubstr("mpirun -np N")));
  EXPECT_THAT(refusal_of_launch(1, {{"PMI_SIZE", "8"}}), HasSubstr("mpirun of the MPI library"));
  for (const char* variable : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}) {
    EXPECT_THAT(refusal_of_launch(1, {{variable, "1"}}), HasSubstr("as rank 1 (" + std::string(variable) + "=1)"));
  }
}

TEST(WorldSize, OfSlurmsStepMustBeMpis) {
  EXPECT_THAT(refusal_of_launch(1, {{"SLURM_STEP_NUM_TASKS", "8"}, {"PMI_SIZE", "8"}}),
              AllOf(HasSubstr("SLURM started 8 tasks, but MPI sees 1 rank:"), HasSubstr("srun --mpi=pmix")));
  EXPECT_THAT(refusal_of_launch(2, {{"SLURM_STEP_NUM_TASKS", "1"}}),
              HasSubstr("SLURM started 1 task, but MPI sees 2 ranks"));
}

TEST(WorldSize, ThatFitsIsAccepted) {
  const std::map<std::string, std::string> accepted[] = {
      {},
      {{"SLURM_STEP_NUM_TASKS", "2"}, {"PMIX_RANK", "1"}, {"WORLD_SIZE", "2"}},
      // A batch script is one process of a job of many tasks.
      {{"SLURM_NTASKS", "8"}},
      // mpirun inside a step of SLURM, and a shell in which torchrun's variables are left.
      {{"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_RANK", "1"}, {"SLURM_STEP_NUM_TASKS", "1"}},
      {{"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_RANK", "1"}, {"PMIX_RANK", "1"}, {"WORLD_SIZE", "16"}},
      {{"WORLD_SIZE", "many"}}};
  for (const auto& variables : accepted) EXPECT_NO_THROW(check_world_size(2, environment(variables)));
}

}  // namespace
}  // namespace dtrain::launcher
