#include "train/results.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/table.h"

namespace dtrain::train {

nlohmann::json run_json(const RunResult& result, const std::vector<std::string>& labels) {
  nlohmann::json json;
  json["schema"] = 1;
  json["machine"] = result.machine;
  json["method"] = result.options.method.text();
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
  json["steps"] = result.report.steps;
  json["best_step"] = result.report.best_step;
  json["metrics"] = nlohmann::json::object();
  for (const auto& [name, metrics] : result.metrics)
    json["metrics"][name] = metrics_json(metrics, labels, !labels.empty());
  json["cost"] = {{"train_seconds", result.report.train_seconds},
                  {"samples_per_second", result.report.samples_per_second},
                  {"peak_memory_bytes", result.report.peak_memory_bytes},
                  {"trainable_parameters", result.report.trainable_parameters},
                  {"allreduce_bytes_per_step", result.report.allreduce_bytes_per_step},
                  {"stored_bytes", result.stored_bytes}};
  json["notes"] = result.notes;
  return json;
}

std::string metrics_table(const std::vector<std::pair<std::string, Metrics>>& metrics) {
  Table table{{"", "examples", "accuracy", "balanced", "macro-F1", "weighted F1", "Matthews", "log-loss", "ECE"}, {}};
  for (const auto& [name, values] : metrics) {
    const auto number = [](double value) { return fmt::format("{:.4f}", value); };
    table.rows.push_back({name, count_text(values.examples), number(values.accuracy), number(values.balanced_accuracy),
                          number(values.macro_f1), number(values.weighted_f1), number(values.matthews),
                          number(values.log_loss), number(values.calibration_error)});
  }
  return terminal_table(table);
}

std::string one_line(std::string field) {
  std::replace_if(
      field.begin(), field.end(), [](char byte) { return byte == '\t' || byte == '\n' || byte == '\r'; }, ' ');
  return field;
}

void write_predictions(const std::filesystem::path& path, const at::Tensor& logits, const data::TokenDataset& examples,
                       const std::vector<std::string>& labels) {
  const auto probabilities = at::softmax(logits.to(at::kDouble), 1).contiguous();
  const auto classes = static_cast<std::size_t>(logits.size(1));
  std::string text = "id\tlabel\tpredicted\tprobability\n";
  for (std::int64_t id = 0; id < examples.size(); ++id) {
    const double* row = probabilities.const_data_ptr<double>() + static_cast<std::size_t>(id) * classes;
    const auto predicted = static_cast<std::size_t>(std::max_element(row, row + classes) - row);
    const std::int32_t label = examples.example(id).label;
    text += fmt::format("{}\t{}\t{}\t{:.6f}\n", id, label >= 0 ? one_line(labels[static_cast<std::size_t>(label)]) : "",
                        one_line(labels[predicted]), row[predicted]);
  }
  write_file_atomically(path, text);
}

}  // namespace dtrain::train
