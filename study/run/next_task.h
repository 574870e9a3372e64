#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "model/classifier.h"
#include "peft/attach_context.h"
#include "study/plan/trial.h"
#include "train/examples.h"
#include "train/feature_cache.h"
#include "train/options.h"
#include "train/run_context.h"

namespace dtrain::study {

/// The task that a result of a study goes on with, to ask what it forgets of the first.
struct NextTask {
  /// A pretrained classifier with a head for this task, drawn from this seed.
  std::function<std::unique_ptr<model::Classifier>(std::uint64_t head_seed)> classifier;
  /// Its training and dev examples for a study's sample count: as many, or all there are.
  std::function<train::Examples(std::int64_t samples, std::uint64_t subset_seed)> train;
  std::function<train::Examples(std::int64_t samples)> dev;
  train::Examples test;
  /// What it is trained with, but for method, learning rate and seed.
  train::TrainOptions training;
  /// Of methods that start from a text.
  peft::TokenizeText tokenize = {};
};

/// A result of the first task: what `options` made of `classifier`, which has `score` (Objective::score_metric) on
/// `test`.
struct FirstTask {
  model::Classifier& classifier;
  const train::TrainOptions& options;
  const train::Examples& test;
  double score = 0;
};

/// Trains a trial's method on the next task, at the same rate and with the same seed, from the weights that the first
/// task has left and with a new head; then scores the first task again, with its own head on what the body has become:
///
/// - "first_task_before" and "first_task": its score on test, before and after;
/// - "backward_transfer": what that gained, below zero where it was forgotten (Lopez-Paz and Ranzato, 2017);
/// - "next_task": the score of the next task on its own test set.
///
/// Collective over the context's ranks. `first.classifier` has the body of the next task afterwards. `features` are
/// those of the trials of the study. Throws NotFiniteError as training does.
std::map<std::string, double> train_next_task(const NextTask& next, const FirstTask& first, const Trial& trial,
                                              std::uint64_t subset_seed, const train::RunContext& context,
                                              train::FeatureStore& features);

}  // namespace dtrain::study
