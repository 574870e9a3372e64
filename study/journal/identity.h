#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "study/plan/plan.h"
#include "train/options.h"

namespace dtrain::study {

/// What of a task decides a study's numbers.
struct TaskIdentity {
  std::string name;
  /// Of the model's outputs, in their order.
  std::vector<std::string> labels;
  /// Digests of content and targets.
  std::string train;
  std::string dev;
  std::string test;
  /// By name.
  std::vector<std::pair<std::string, std::string>> ood;
};

/// What decides a study's numbers besides its plan.
struct StudySetting {
  /// The Hugging Face directory; its config.json and weights count, not its name.
  std::filesystem::path model;
  std::string pooling;
  /// "fp32" or "bf16", as chosen.
  std::string precision;
  /// "cpu" or "cuda".
  std::string device;
  /// The digest of what forgetting is measured on (ForgettingMaterial::digest); empty: it is not asked.
  std::string retained_texts = {};
};

/// Of the files that make the model in a Hugging Face directory: config.json and the weights that are loaded, in the
/// order of their names, whatever these are. Throws InputError where there are none.
std::string model_digest(const std::filesystem::path& directory);

/// Puts the data that a study is scored on into its identity.
void identify_scored_data(std::map<std::string, std::string>& identity, const TaskIdentity& task);

/// Everything that decides the numbers of a study's trials besides what a trial says of itself, by name, as text: a
/// study may go on with more or other methods, counts, learning rates and seeds. The number of ranks and threads is not
/// among it: it changes the rounding of sums alone, and a study may go on elsewhere. Reads the weights, once.
std::map<std::string, std::string> study_identity(const StudyPlan& plan, const train::TrainOptions& training,
                                                  const TaskIdentity& task, const StudySetting& setting);

/// The same of the task that results go on with: what `training` and the task's data decide.
std::map<std::string, std::string> next_task_identity(const train::TrainOptions& training, const TaskIdentity& task);

}  // namespace dtrain::study
