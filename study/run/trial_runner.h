#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/classifier.h"
#include "peft/attach_context.h"
#include "study/plan/plan.h"
#include "study/plan/trial.h"
#include "study/run/next_task.h"
#include "train/examples.h"
#include "train/feature_cache.h"
#include "train/options.h"
#include "train/run_context.h"

namespace dtrain::study {

/// What trials are made of.
struct Material {
  /// A pretrained classifier with a head drawn from this seed. Asked for each trial: what is not trained is one storage
  /// for all (model::LoadOptions::weights).
  std::function<std::unique_ptr<model::Classifier>(std::uint64_t head_seed)> classifier;
  /// The training examples of a sample count.
  std::function<train::Examples(std::int64_t samples, std::uint64_t subset_seed)> train;
  /// The dev examples of a sample count (dev_examples of them).
  std::function<train::Examples(std::int64_t samples)> dev;
  /// "test" and "ood.NAME".
  std::vector<std::pair<std::string, train::Examples>> sets;
  /// What training forgot, by name (ForgettingProbe::measure), collective over the context's ranks; null: not asked.
  /// It scores so many examples, whose texts have this digest; empty: not asked.
  std::function<std::map<std::string, double>(model::Classifier& trained, const train::RunContext& context)> forgetting;
  std::int64_t forgetting_examples = 0;
  std::string forgetting_digest = {};
  /// What each result goes on with; null: nothing.
  std::shared_ptr<const NextTask> next_task;
  std::vector<std::string> labels;
  std::filesystem::path model_directory;
  /// The folder of event files, which a trial has a folder of its own in (Trial::folder); empty: none are written.
  std::filesystem::path events = {};
  train::TrainOptions training;
  /// Of methods that start from a text.
  peft::TokenizeText tokenize = {};
};

/// Runs the trials of a study one after the other on the ranks of one group, which keep the features of frozen parts
/// from one to the next.
class TrialRunner {
 public:
  /// All but `stored_bytes` (by method) must outlive it.
  TrialRunner(const StudyPlan& plan, const Material& material, std::map<std::string, std::int64_t> stored_bytes);

  /// Collective over the context's ranks, whose results are alike. A loss that is not finite is an outcome, and so is
  /// memory that runs out where the ranks agree on that (train::OutOfMemoryError), or where one is the whole group;
  /// elsewhere the others would wait for it, and its exception ends the study. What is to be said goes into the
  /// outcome. Throws Stopped after a signal.
  TrialOutcome run(const Trial& trial, const train::RunContext& context);

 private:
  TrialOutcome train_and_score(const Trial& trial, const train::RunContext& context);

  const StudyPlan& plan_;
  const Material& material_;
  std::map<std::string, std::int64_t> stored_bytes_;
  train::FeatureStore features_;
};

}  // namespace dtrain::study
