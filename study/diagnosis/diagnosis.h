#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/table.h"
#include "model/pooling.h"
#include "study/diagnosis/probes.h"
#include "study/statistics/share_estimates.h"

namespace dtrain::study {

/// The probe of one stage (0 the embeddings, 1..L the layers) under one pooling.
struct StageProbe {
  int stage;
  model::Pooling pooling;
  Probe probe;
  /// Of test.
  ShareEstimate accuracy = {};
};

/// One way to use the model, and what it has on test.
struct DiagnosisRow {
  /// "asked", "rate", "optimum", "pooling", "best_probe", "head", "full" or "method".
  std::string kind;
  /// What it is in words: "frozen body, pooler, learning rate 5e-5".
  std::string title;
  /// "head", "full", "lora:r=16"; "probe" for an optimum without training.
  std::string method;
  model::Pooling pooling;
  /// Of a probe.
  std::optional<int> stage;
  /// Unset for a probe.
  std::optional<double> learning_rate;
  /// Where that is from: "asked"; "search" (on dev); "study", the one beside which the diagnosis lies; "given" (--lrs);
  /// "default", the method's middle one, which was not searched. Empty for a probe.
  std::string rate_from;
  std::int64_t trainable_parameters = 0;
  /// Of training, or of solving the probe: the first seed's.
  double seconds = 0;
  /// Why it has no scores (a loss that is not finite); empty where it has.
  std::string failure;
  SeedScores scores;
  double dev_log_loss = 0;
  ShareEstimate accuracy;
  /// Its accuracy minus that of full fine-tuning.
  ShareEstimate to_full;
};

/// What one of the choices between the questioner's setting and full fine-tuning is worth.
struct DiagnosisStep {
  /// "learning_rate", "training", "pooling", "layer" or "linear_head".
  std::string choice;
  /// Points that making it better gains, in shares.
  ShareEstimate gain;
};

/// Why a frozen body is worse: linear probes of every stage, and the gap between the questioner's frozen model and full
/// fine-tuning cut into what each choice costs. The gains of `steps` add up to `gap`.
struct Diagnosis {
  std::string model;
  std::string task;
  std::string machine;
  std::int64_t classes = 0;
  std::int64_t samples = 0;
  std::int64_t dev_examples = 0;
  std::int64_t test_examples = 0;
  /// Of the best constant answer, on test.
  double majority_share = 0;
  std::int64_t seeds = 1;
  int layers = 0;
  std::vector<StageProbe> probes;
  std::vector<DiagnosisRow> rows;
  std::vector<DiagnosisStep> steps;
  ShareEstimate gap;
  /// Methods that were not tried because time was short.
  std::vector<std::string> left_out;
  /// What a person should know about the data.
  std::vector<std::string> notes;

  /// The first row of that kind; throws std::out_of_range where there is none.
  const DiagnosisRow& row(const std::string& kind) const;
  /// By dev's log-loss.
  const StageProbe& best_probe() const;
};

/// Fills accuracy, to_full, steps and gap from the scores of rows and probes. Every kind but "pooling", "head" and
/// "method" is there.
void conclude(Diagnosis& diagnosis);

/// The choices between the questioner's setting and full fine-tuning, in their order, each with the kind of row that it
/// leads to. Of the kinds that are there.
std::vector<std::pair<std::string, std::string>> diagnosis_choices(const Diagnosis& diagnosis);

/// The content of diagnose.json (docs/results.md). Costs are in `seconds` alone: of the same rows all else is the same
/// whatever the machine did besides.
nlohmann::json diagnosis_json(const Diagnosis& diagnosis);
/// Back from that, without the scores of examples: what a report shows. Throws InputError for what diagnosis_json does
/// not write.
Diagnosis diagnosis_from_json(const nlohmann::json& json);

/// A line for each row.
Table diagnosis_table(const Diagnosis& diagnosis);
/// A line for each stage, a column for each pooling: the probes' accuracy on test in percent.
Table probe_table(const Diagnosis& diagnosis);

/// What costs what, in a few sentences.
std::vector<std::string> diagnosis_words(const Diagnosis& diagnosis);

}  // namespace dtrain::study
