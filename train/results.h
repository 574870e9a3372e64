#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "data/task.h"
#include "train/metrics.h"
#include "train/options.h"
#include "train/trainer.h"

namespace dtrain::train {

/// Everything that results.json of a run says.
struct RunResult {
  TrainOptions options;
  std::string model;
  /// The run, model or adapter that it started from, where that is not the model alone.
  std::string start;
  std::string task;
  /// Which columns of the training file were read (data::Task::columns).
  std::string columns;
  std::int64_t samples = 0;
  int ranks = 1;
  /// What ran it: ranks, devices, threads, precision.
  std::string machine;
  TrainReport report;
  /// "dev", "test", "ood.NAME".
  std::vector<std::pair<std::string, Metrics>> metrics;
  std::int64_t stored_bytes = 0;
  std::vector<std::string> notes;
};

/// The content of results.json (docs/results.md). `labels` non-empty adds per-class metrics and confusion matrices.
nlohmann::json run_json(const RunResult& result, const std::vector<std::string>& labels);

/// A table of the metrics for a terminal.
std::string metrics_table(const std::vector<std::pair<std::string, Metrics>>& metrics);

/// A field of a TSV file: a tab or a line end within it becomes a space.
std::string one_line(std::string field);

/// predictions/NAME.tsv: id, label (where known), predicted, probability of it.
void write_predictions(const std::filesystem::path& path, const at::Tensor& logits, const data::TokenDataset& examples,
                       const std::vector<std::string>& labels);

}  // namespace dtrain::train
