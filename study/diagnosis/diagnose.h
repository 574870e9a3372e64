#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/classifier.h"
#include "model/pooling.h"
#include "peft/attach_context.h"
#include "peft/method.h"
#include "study/diagnosis/diagnosis.h"
#include "train/examples.h"
#include "train/options.h"
#include "train/run_context.h"

namespace dtrain::study {

/// A method that is tried besides the head and the whole model.
struct TriedMethod {
  peft::MethodSpec method;
  /// Left out where the plan's time is short.
  bool if_time = false;
};

/// What a diagnosis tries.
struct DiagnosisPlan {
  /// The questioner's learning rate, for the head as asked.
  double asked_rate = 5e-5;
  std::vector<TriedMethod> methods;
  /// Tried on dev for each of these and full. Empty: `known_rates`, for others what a quick search finds
  /// (study/plan/search.h), or where the time is short each one's middle rate. A head is always searched.
  std::vector<double> learning_rates;
  /// What a study chose, by method.
  std::map<std::string, double> known_rates;
  /// Seeds of what is trained; a search has another.
  std::int64_t seeds = 1;
  /// What it may take from `began` on (study/diagnosis/diagnose_time.h), in seconds; nothing: what it takes.
  std::optional<double> seconds;
  std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
};

/// What it is made of.
struct DiagnosisMaterial {
  /// A pretrained classifier with a head drawn from this seed.
  std::function<std::unique_ptr<model::Classifier>(model::Pooling, std::uint64_t head_seed)> classifier;
  /// The pooling that a person should use (--pooling, or as the model says).
  model::Pooling pooling = model::Pooling::mean;
  train::Examples train;
  train::Examples dev;
  train::Examples test;
  /// Of every trial; method, learning rate and seed are the plan's. The seed is the search's, those of the result
  /// follow it.
  train::TrainOptions training;
  /// Of methods that start from a text.
  peft::TokenizeText tokenize = {};
};

/// Methods from a list such as "lora,layers:k=1..4", which stands for a method for each k. "auto" is lora and
/// layers:k=1,2,4,... below the number of layers; if there is time also bitfit, pfeiffer and, of at most six layers,
/// every other k. Throws UsageError for a range or method that there is not.
std::vector<TriedMethod> diagnosis_methods(const std::string& text, std::int64_t layers);

/// Collective; classes only (single_label_classification). Solves the probes of every stage, each on one rank, from one
/// pass over train, dev and test; trains the head as asked (BERT's pooler where the checkpoint has one, else cls) and
/// at a rate that dev chooses, the whole model, and the plan's methods, how long the latter will take being said
/// before. Model, task, machine and notes are the caller's to fill. Throws TrainingError where the whole model or a
/// head does not train; a method that does not is a row.
Diagnosis diagnose(const DiagnosisPlan& plan, const DiagnosisMaterial& material, const train::RunContext& context);

}  // namespace dtrain::study
