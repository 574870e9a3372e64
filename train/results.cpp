#include "train/results.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "base/atomic_file.h"

namespace dtrain::train {

Cost cost_of(const TrainReport& report, int ranks, std::int64_t stored_bytes) {
  return {.ranks = ranks,
          .threads_per_rank = at::get_num_threads(),
          .train_seconds = report.train_seconds,
          .samples_per_second = report.samples_per_second,
          .tokens_per_second = report.tokens_per_second,
          .flop = report.flop,
          .matmul_rate_share = report.matmul_rate_share,
          .energy_joules = report.energy.joules,
          .energy_of = report.energy.of,
          .peak_memory_bytes = report.peak_memory_bytes,
          .peak_memory_above_base_bytes = report.peak_memory_above_base_bytes,
          .peak_host_memory_bytes = report.peak_host_memory_bytes,
          .trainable_parameters = report.trainable_parameters,
          .allreduce_bytes_per_step = report.allreduce_bytes_per_step,
          .stored_bytes = stored_bytes};
}

nlohmann::json set_json(const Objective& objective, const Evaluation& evaluation, const Examples& examples,
                        const std::vector<std::string>& labels) {
  const auto targets = examples.all_targets();
  auto json = metrics_json(evaluation.metrics);
  json["untrained"] = metrics_json(objective.untrained(targets, evaluation.logits.size(1)));
  json["untrained"].erase("examples");
  json.update(objective.details(evaluation.logits, targets, labels));
  return json;
}

nlohmann::json run_json(const RunResult& result) {
  nlohmann::json json;
  json["schema"] = 1;
  json["machine"] = result.machine;
  json["method"] = result.options.method.text();
  json["problem_type"] = problem_type_name(result.options.problem_type);
  json["loss"] = loss_text(result.options.loss);
  json["select_metric"] = result.options.select_metric;
  json["model"] = result.model;
  if (!result.start.empty()) json["start"] = result.start;
  json["task"] = result.task;
  json["columns"] = result.columns;
  json["seed"] = result.options.seed;
  json["samples"] = result.samples;
  json["learning_rate"] = result.report.learning_rate;
  json["batch_size"] = result.options.batch_size;
  json["ranks"] = result.ranks;
  json["virtual_ranks"] = result.options.virtual_ranks;
  json["reduce_precision"] = dist::wire_format_name(result.options.reduce_format);
  json["steps"] = result.report.steps;
  json["planned_steps"] = result.report.planned_steps;
  json["stopped_early"] = result.report.stopped_early();
  json["best_step"] = result.report.best_step;
  json["metrics"] = nlohmann::json::object();
  for (const auto& [name, set] : result.sets) json["metrics"][name] = set;
  json["cost"] = cost_json(cost_of(result.report, result.ranks, result.stored_bytes));
  json["notes"] = result.notes;
  return json;
}

void write_predictions(const std::filesystem::path& path, const std::vector<OutputColumns>& own,
                       const OutputColumns& predictions) {
  std::string text;
  for (const OutputColumns& columns : own) text += columns.header + "\t";
  text += predictions.header + "\n";
  for (std::size_t i = 0; i < predictions.rows.size(); ++i) {
    for (const OutputColumns& columns : own) text += columns.rows[i] + "\t";
    text += predictions.rows[i] + "\n";
  }
  write_file_atomically(path, text);
}

OutputColumns id_column(std::int64_t count) {
  OutputColumns ids{"id", {}};
  for (std::int64_t id = 0; id < count; ++id) ids.rows.push_back(std::to_string(id));
  return ids;
}

}  // namespace dtrain::train
