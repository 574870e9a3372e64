#include "study/journal/identity.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>
#include <vector>

#include "base/mapped_file.h"
#include "model/formats/model_weights.h"

namespace dtrain::study {
namespace {

namespace fs = std::filesystem;

std::string digest_of(const std::string& text) { return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size())); }

}  // namespace

std::string model_digest(const fs::path& directory) {
  auto files = model::weight_files(directory);
  files.insert(std::lower_bound(files.begin(), files.end(), directory / "config.json"), directory / "config.json");
  std::string digests;
  for (const fs::path& path : files) {
    const MappedFile file(path);
    digests += fmt::format("{:016x}", XXH3_64bits(file.bytes().data(), file.bytes().size()));
  }
  return digest_of(digests);
}

void identify_scored_data(std::map<std::string, std::string>& identity, const TaskIdentity& task) {
  identity["test data"] = task.test;
  for (const auto& [name, set] : task.ood) identity["ood data " + name] = set;
}

std::map<std::string, std::string> study_identity(const StudyPlan& plan, const train::TrainOptions& training,
                                                  const TaskIdentity& task, const StudySetting& setting) {
  std::map<std::string, std::string> identity;
  identity["seed"] = std::to_string(plan.search_seed);
  identity["subset seed"] = std::to_string(plan.subset_seed);
  identity["select metric"] = plan.select_metric;

  identity["model"] = model_digest(setting.model);
  identity["pooling"] = setting.pooling;
  identity["precision"] = setting.precision;
  identity["device"] = setting.device;
  identity["labels"] = digest_of(fmt::format("{}", fmt::join(task.labels, "\n")));
  identity["training data"] = task.train;
  identity["dev data"] = task.dev;
  identify_scored_data(identity, task);

  identity["problem type"] = problem_type_name(training.problem_type);
  identity["loss"] = train::loss_text(training.loss);
  identity["steps"] = training.max_steps ? std::to_string(*training.max_steps)
                                         : fmt::format("{} epochs, at least {}", training.epochs, training.min_steps);
  identity["batch size"] = std::to_string(training.batch_size);
  identity["micro batch size"] = std::to_string(training.micro_batch_size);
  identity["virtual ranks"] = std::to_string(training.virtual_ranks);
  identity["weight decay"] = fmt::format("{}", training.weight_decay);
  identity["warm-up ratio"] = fmt::format("{}", training.warmup_ratio);
  // These three of no study before there was a choice.
  if (!setting.retained_texts.empty()) identity["retained texts"] = setting.retained_texts;
  if (training.patience > 0) identity["patience of the search"] = std::to_string(training.patience);
  if (training.reduce_format != dist::WireFormat::fp32)
    identity["reduce precision"] = dist::wire_format_name(training.reduce_format);
  identity["gradient norm"] = fmt::format("{}", training.max_gradient_norm);
  return identity;
}

std::map<std::string, std::string> next_task_identity(const train::TrainOptions& training, const TaskIdentity& task) {
  return {{"next task",
           fmt::format("{} (training data {}, dev data {}, test data {})", task.name, task.train, task.dev, task.test)},
          {"next task's problem type", std::string(problem_type_name(training.problem_type))},
          {"next task's select metric", training.select_metric}};
}

}  // namespace dtrain::study
