#include "launcher/session/slurm_job.h"

#include <charconv>
#include <string_view>

namespace dtrain::launcher {
namespace {

template <typename Number>
std::optional<Number> number(const Variables& variables, const char* name) {
  const char* value = variables(name);
  if (value == nullptr) return std::nullopt;
  const std::string_view text = value;
  Number result = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), result);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(result) : std::nullopt;
}

}  // namespace

std::optional<SlurmJob> slurm_job(const Variables& variables) {
  const char* id = variables("SLURM_JOB_ID");
  if (id == nullptr || *id == '\0') return std::nullopt;
  SlurmJob job{id, number<std::time_t>(variables, "SLURM_JOB_END_TIME"),
               number<int>(variables, "SLURM_RESTART_COUNT").value_or(0)};
  if (job.end && *job.end <= 0) job.end.reset();
  const char* array = variables("SLURM_ARRAY_JOB_ID");
  const char* index = variables("SLURM_ARRAY_TASK_ID");
  if (array != nullptr && index != nullptr) job.id = std::string(array) + "_" + index;
  return job;
}

}  // namespace dtrain::launcher
