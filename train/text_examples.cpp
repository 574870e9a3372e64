#include "train/text_examples.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

namespace dtrain::train {
namespace {

class TextSource final : public ExampleSource {
 public:
  explicit TextSource(data::TokenDataset texts) : texts_(std::move(texts)) {}

  std::int64_t size() const override { return texts_.size(); }
  std::int32_t length(std::int64_t index) const override { return texts_.length(index); }
  std::string digest() const override { return texts_.digest(); }

  model::TokenBatch collate(const std::vector<std::int64_t>& indices, at::Device device) const override {
    model::TokenBatch batch;
    const auto count = static_cast<std::int64_t>(indices.size());
    batch.offsets = at::empty({count + 1}, at::kLong);
    auto* offsets = batch.offsets.mutable_data_ptr<std::int64_t>();
    offsets[0] = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t length = texts_.length(indices[static_cast<std::size_t>(i)]);
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
      const auto example = texts_.example(indices[static_cast<std::size_t>(i)]);
      const std::int64_t length = offsets[i + 1] - offsets[i];
      std::copy(example.ids.begin(), example.ids.end(), ids + offsets[i]);
      std::fill_n(types + offsets[i], example.second_segment, 0);
      std::fill(types + offsets[i] + example.second_segment, types + offsets[i + 1], 1);
      std::iota(positions + offsets[i], positions + offsets[i] + length, 0);
    }
    if (!device.is_cpu()) place(model::on_device(rows, device));
    return batch;
  }

 private:
  data::TokenDataset texts_;
};

}  // namespace

Examples text_examples(data::TokenDataset texts) {
  auto targets = texts.targets();
  return {std::make_shared<const TextSource>(std::move(texts)), std::move(targets)};
}

}  // namespace dtrain::train
