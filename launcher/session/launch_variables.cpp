#include "launcher/session/launch_variables.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string_view>

#include "base/error.h"

namespace dtrain::launcher {
namespace {

// A launcher's variable, and what to do where MPI does not see the ranks that it speaks of.
struct Launcher {
  const char* variable;
  const char* advice;
};

constexpr const char* kOtherMpi =
    "Start dtrain with the mpirun of the MPI library that it was built with (dtrain --version names it)";
constexpr Launcher kSizes[] = {
    {"OMPI_COMM_WORLD_SIZE", kOtherMpi},
    {"PMI_SIZE", kOtherMpi},
    {"MV2_COMM_WORLD_SIZE", kOtherMpi},
    {"WORLD_SIZE",
     "torchrun starts ranks that MPI does not know. Start dtrain with mpirun -np N, or srun --mpi=pmix; where the "
     "variable is left from something else, unset it"}};
constexpr Launcher kRanks[] = {{"OMPI_COMM_WORLD_RANK", kOtherMpi}, {"PMIX_RANK", kOtherMpi}, {"PMI_RANK", kOtherMpi}};

std::optional<long> long_value(const Variables& variables, const char* name) {
  const char* text = variables(name);
  if (text == nullptr) return std::nullopt;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  return end != text && *end == '\0' ? std::optional(value) : std::nullopt;
}

const char* plural(long count) { return count == 1 ? "" : "s"; }

}  // namespace

Variables process_environment() {
  return [](const char* name) { return std::getenv(name); };
}

Variables copied_environment() {
  auto copy = std::make_shared<std::map<std::string, std::string, std::less<>>>();
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto equals = text.find('=');
    if (equals != std::string_view::npos) copy->emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return [copy](const char* name) {
    const auto found = copy->find(std::string_view(name));
    return found == copy->end() ? nullptr : found->second.c_str();
  };
}

std::optional<std::string> launched_rank(const Variables& variables) {
  for (const Launcher& launcher : kRanks) {
    if (const char* rank = variables(launcher.variable); rank != nullptr) return rank;
  }
  return std::nullopt;
}

void check_world_size(int ranks, const Variables& variables) {
  // mpirun's own ranks: what else is set surrounds mpirun itself, such as the step of SLURM that it runs in.
  if (long_value(variables, "OMPI_COMM_WORLD_SIZE") == ranks) return;
  // Of srun's step. A batch script has SLURM_NTASKS, too, but is one process.
  const auto tasks = long_value(variables, "SLURM_STEP_NUM_TASKS");
  if (tasks && *tasks != ranks && !variables("OMPI_COMM_WORLD_RANK")) {
    throw UsageError(fmt::format(
        "SLURM started {} task{}, but MPI sees {} rank{}: srun and OpenMPI do not speak the same PMI. Use srun "
        "--mpi=pmix, or mpirun inside the job.",
        *tasks, plural(*tasks), ranks, plural(ranks)));
  }
  for (const auto& [variable, advice] : kSizes) {
    const auto size = long_value(variables, variable);
    if (!size || *size <= ranks) continue;
    throw UsageError(
        fmt::format("the launcher started {} ranks ({}={}), but MPI sees {}: each rank would be a run of "
                    "its own. {}.",
                    *size, variable, *size, ranks, advice));
  }
  for (const auto& [variable, advice] : kRanks) {
    const auto rank = long_value(variables, variable);
    if (!rank || *rank < ranks) continue;
    throw UsageError(
        fmt::format("the launcher started this process as rank {} ({}={}), but MPI sees {} rank{}: each "
                    "rank would be a run of its own. {}.",
                    *rank, variable, *rank, ranks, plural(ranks), advice));
  }
}

}  // namespace dtrain::launcher
