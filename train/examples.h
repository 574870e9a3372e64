#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "data/token_dataset.h"
#include "model/token_batch.h"

namespace dtrain::train {

/// Examples as the model takes them, on `device`.
model::TokenBatch collate(const data::TokenDataset& examples, const std::vector<std::int64_t>& indices,
                          at::Device device);

/// Their classes [n] int64, on `device`.
at::Tensor collate_labels(const data::TokenDataset& examples, const std::vector<std::int64_t>& indices,
                          at::Device device);

/// The lengths of all examples, in tokens.
std::vector<std::int32_t> lengths_of(const data::TokenDataset& examples);

}  // namespace dtrain::train
