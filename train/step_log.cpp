#include "train/step_log.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json_file.h"

namespace dtrain::train {
namespace {

// Nothing of a line that is none of a log, as the last one of a process that was killed.
std::optional<std::int64_t> step_of(const std::string& line) {
  try {
    const auto record = parse_json(line, "");
    const auto step = record.is_object() ? record.find("step") : record.end();
    if (step == record.end() || !step->is_number_integer()) return std::nullopt;
    return step->get<std::int64_t>();
  } catch (const InputError&) {
    return std::nullopt;
  }
}

}  // namespace

StepLog::StepLog(const std::filesystem::path& path, std::int64_t resumed_step) : path_(path) {
  if (path.empty()) return;
  if (resumed_step > 0 && std::filesystem::exists(path)) {
    std::string kept;
    std::ifstream before(path);
    for (std::string line; std::getline(before, line);) {
      if (step_of(line).value_or(resumed_step + 1) <= resumed_step) kept += line + "\n";
    }
    write_file_atomically(path, kept);
  } else {
    write_file_atomically(path, "");
  }
  stream_.open(path, std::ios::app);
}

void StepLog::write(const StepRecord& record) {
  if (path_.empty()) return;
  const nlohmann::json line = {{"step", record.step},
                               {"steps", record.steps},
                               {"loss", record.loss},
                               {"learning_rate", record.learning_rate},
                               {"gradient_norm", record.gradient_norm},
                               {"samples_per_second", record.samples_per_second},
                               {"allreduce_bytes", record.allreduce_bytes}};
  stream_ << line.dump() << '\n' << std::flush;
  if (!stream_) throw TrainingError(fmt::format("cannot write {}: is the disk full?", path_.string()));
}

void StepLog::sync() {
  if (!path_.empty()) sync_file(path_);
}

}  // namespace dtrain::train
