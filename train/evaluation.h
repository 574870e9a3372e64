#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "data/token_dataset.h"
#include "model/classifier.h"
#include "train/feature_cache.h"
#include "train/metrics.h"
#include "train/run_context.h"

namespace dtrain::train {

/// Tokens of an evaluation batch: enough to fill the matmuls, and on the CPU few enough for the cache.
inline std::int64_t evaluation_tokens(at::Device device) { return device.is_cpu() ? 2048 : 16384; }

/// The logits [n, classes] float of every example, on the CPU of every rank. The batches are fixed by the lengths and
/// dealt whole to the ranks; the rows are gathered, each example exactly once.
at::Tensor score(model::Classifier& classifier, const data::TokenDataset& examples, const RunContext& context,
                 FeatureStore* features = nullptr);

/// score and compute_metrics.
Metrics evaluate(model::Classifier& classifier, const data::TokenDataset& examples, const RunContext& context,
                 FeatureStore* features = nullptr);

}  // namespace dtrain::train
