#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>

namespace dtrain::train {

/// One logged step.
struct StepRecord {
  std::int64_t step;
  std::int64_t steps;
  double loss;
  double learning_rate;
  double gradient_norm;
  double samples_per_second;
  std::int64_t allreduce_bytes;
};

/// log.jsonl: a line per logged step. A resumed run drops the lines after the step it goes on from.
class StepLog {
 public:
  /// An empty path logs nowhere.
  StepLog(const std::filesystem::path& path, std::int64_t resumed_step);
  /// Throws TrainingError when the disk refuses.
  void write(const StepRecord& record);
  /// Brings the lines to disk: before a checkpoint that a resumed run goes on from, or a power cut could leave that
  /// without its steps. Throws TrainingError.
  void sync();

 private:
  std::filesystem::path path_;
  std::ofstream stream_;
};

}  // namespace dtrain::train
