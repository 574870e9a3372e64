#include "train/collate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

namespace dtrain::train {

model::TokenBatch collate(const data::TokenDataset& examples, const std::vector<std::int64_t>& indices,
                          at::Device device) {
  model::TokenBatch batch;
  const auto count = static_cast<std::int64_t>(indices.size());
  batch.offsets = at::empty({count + 1}, at::kLong);
  auto* offsets = batch.offsets.mutable_data_ptr<std::int64_t>();
  offsets[0] = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t length = examples.length(indices[static_cast<std::size_t>(i)]);
    offsets[i + 1] = offsets[i] + length;
    batch.max_length = std::max(batch.max_length, length);
  }
  const std::int64_t tokens =
      (offsets[count] + model::kTokenMultiple - 1) / model::kTokenMultiple * model::kTokenMultiple;
  const auto rows = at::zeros({3, tokens}, at::kLong);  // one tensor, which goes to a GPU at once
  const auto place = [&](const at::Tensor& all) {
    batch.ids = all[0];
    batch.types = all[1];
    batch.positions = all[2];
  };
  place(rows);
  auto* ids = batch.ids.mutable_data_ptr<std::int64_t>();
  auto* types = batch.types.mutable_data_ptr<std::int64_t>();
  auto* positions = batch.positions.mutable_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < count; ++i) {
    const auto example = examples.example(indices[static_cast<std::size_t>(i)]);
    const std::int64_t length = offsets[i + 1] - offsets[i];
    std::copy(example.ids.begin(), example.ids.end(), ids + offsets[i]);
    std::fill_n(types + offsets[i], example.second_segment, 0);
    std::fill(types + offsets[i] + example.second_segment, types + offsets[i + 1], 1);
    std::iota(positions + offsets[i], positions + offsets[i] + length, 0);
  }
  if (!device.is_cpu()) place(model::on_device(rows, device));
  return batch;
}

at::Tensor collate_labels(const data::TokenDataset& examples, const std::vector<std::int64_t>& indices,
                          at::Device device) {
  auto labels = at::empty({static_cast<std::int64_t>(indices.size())}, at::kLong);
  auto* values = labels.mutable_data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < indices.size(); ++i) values[i] = examples.example(indices[i]).label;
  return model::on_device(labels, device);
}

std::vector<std::int32_t> lengths_of(const data::TokenDataset& examples) {
  std::vector<std::int32_t> lengths(static_cast<std::size_t>(examples.size()));
  for (std::size_t i = 0; i < lengths.size(); ++i) lengths[i] = examples.length(static_cast<std::int64_t>(i));
  return lengths;
}

}  // namespace dtrain::train
