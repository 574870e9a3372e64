#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "train/cost.h"
#include "train/evaluation.h"
#include "train/examples.h"
#include "train/options.h"
#include "train/trainer.h"

namespace dtrain::train {

/// Of a run that this process was one of so many ranks of.
Cost cost_of(const TrainReport& report, int ranks, std::int64_t stored_bytes);

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
  /// "dev", "test", "ood.NAME", each with all that results.json says of it (set_json).
  std::vector<std::pair<std::string, nlohmann::json>> sets;
  std::int64_t stored_bytes = 0;
  std::vector<std::string> notes;
};

/// What results.json says of a set: the metrics, what the best constant answer has (`untrained`), and what there is by
/// class, label or output.
nlohmann::json set_json(const Objective& objective, const Evaluation& evaluation, const Examples& examples,
                        const std::vector<std::string>& labels);

/// The content of results.json (docs/results.md).
nlohmann::json run_json(const RunResult& result);

/// The right answers and the model's as the file of predictions shows them, with `all` the probabilities of every
/// class. `own` are the caller's columns, in front: ids, texts.
void write_predictions(const std::filesystem::path& path, const std::vector<OutputColumns>& own,
                       const OutputColumns& predictions);
/// id: the number of each of `count` examples, from 0.
OutputColumns id_column(std::int64_t count);

}  // namespace dtrain::train
