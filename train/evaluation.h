#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/classifier.h"
#include "train/examples.h"
#include "train/feature_cache.h"
#include "train/objective.h"
#include "train/run_context.h"

namespace dtrain::train {

/// Tokens of an evaluation batch: enough to fill the matmuls, and on the CPU few enough for the cache.
inline std::int64_t evaluation_tokens(at::Device device) { return device.is_cpu() ? 2048 : 16384; }

/// The logits [n, outputs] float of every example, on the CPU of every rank. The batches are fixed by the lengths and
/// dealt whole to the ranks; the rows are gathered, each example exactly once. Throws Stopped on every rank where one
/// is stopped (RunContext::end_if_stopped), and OutOfMemoryError where the memory of one runs out.
at::Tensor score(model::Classifier& classifier, const Examples& examples, const RunContext& context,
                 FeatureStore* features = nullptr);

/// What a model makes of examples, each of them scored once.
struct Evaluation {
  /// [n, outputs] float.
  at::Tensor logits;
  Metrics metrics;
  /// One an example (Objective::example_scores), for what compares answers in pairs.
  std::vector<double> scores;
  /// One an example, or none (Objective::predicted_classes).
  std::vector<std::int32_t> predicted;
  /// As many (Objective::confidences).
  std::vector<float> confidences;
  /// Of each of the objective's mean_metrics, by name, one an example, in the precision in which a journal keeps them.
  std::map<std::string, std::vector<float>> values;
};

/// score, and what the objective says of it. The examples have targets.
Evaluation evaluate(model::Classifier& classifier, const Examples& examples, const Objective& objective,
                    const RunContext& context, FeatureStore* features = nullptr);

}  // namespace dtrain::train
