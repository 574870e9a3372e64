#include "model/token_batch.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

namespace dtrain::model {
namespace {

std::int64_t rounded_up(std::int64_t tokens) { return (tokens + kTokenMultiple - 1) / kTokenMultiple * kTokenMultiple; }

}  // namespace

TokenBatch packed(const std::vector<ExampleTokens>& examples, at::Device device) {
  TokenBatch batch;
  const auto count = static_cast<std::int64_t>(examples.size());
  batch.offsets = at::empty({count + 1}, at::kLong);
  auto* offsets = batch.offsets.mutable_data_ptr<std::int64_t>();
  offsets[0] = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto length = static_cast<std::int64_t>(examples[static_cast<std::size_t>(i)].ids.size());
    offsets[i + 1] = offsets[i] + length;
    batch.max_length = std::max(batch.max_length, length);
  }
  const auto rows = at::zeros({3, rounded_up(offsets[count])}, at::kLong);  // one tensor, which goes to a GPU at once
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
    const ExampleTokens& example = examples[static_cast<std::size_t>(i)];
    std::copy(example.ids.begin(), example.ids.end(), ids + offsets[i]);
    std::fill(types + offsets[i] + example.second_segment, types + offsets[i + 1], 1);
    std::iota(positions + offsets[i], positions + offsets[i + 1], 0);
  }
  if (!device.is_cpu()) place(on_device(rows, device));
  return batch;
}

at::Tensor on_device(const at::Tensor& host, at::Device device) {
  return device.is_cpu() ? host : host.pin_memory().to(device, /*non_blocking=*/true);
}

DeviceSequences device_sequences(const at::Tensor& offsets, std::int64_t longest, std::int64_t rest,
                                 at::Device device) {
  const auto lengths = offsets.diff();
  const std::int64_t examples = lengths.size(0);
  const auto begins = at::arange(examples, at::kLong) * longest;
  const auto used = offsets.const_data_ptr<std::int64_t>()[examples];
  const auto places = at::arange(used, at::kLong) + at::repeat_interleave(begins - offsets.slice(0, 0, -1), lengths);
  const auto mask = at::arange(longest, at::kLong).unsqueeze(0) < lengths.unsqueeze(1);
  const auto with_rest = rest > 0 ? at::cat({offsets, offsets.slice(0, -1) + rest}) : offsets;
  return {on_device(with_rest.to(at::kInt), device), on_device(places, device),
          on_device(mask.view({examples, 1, 1, longest}), device)};
}

TokenBatch with_virtual_tokens(const TokenBatch& batch, std::int64_t count) {
  const std::int64_t examples = batch.examples();
  const std::int64_t used = batch.used_tokens() + examples * count;
  const std::int64_t tokens = rounded_up(used);
  const auto device = batch.ids.device();
  const auto begins = at::arange(examples + 1, at::kLong) * count;
  TokenBatch longer;
  longer.offsets = batch.offsets + begins;
  longer.max_length = batch.max_length + count;
  longer.virtual_places =
      on_device((longer.offsets.slice(0, 0, examples).unsqueeze(1) + at::arange(count, at::kLong)).view({-1}), device);
  const auto places = on_device(
      at::arange(batch.used_tokens(), at::kLong) + at::repeat_interleave(begins.slice(0, 1), batch.offsets.diff()),
      device);
  const auto moved = [&](const at::Tensor& rows) {
    return at::zeros({tokens}, rows.options()).index_copy_(0, places, rows.slice(0, 0, batch.used_tokens()));
  };
  longer.ids = moved(batch.ids);
  longer.types = moved(batch.types);
  longer.positions = moved(batch.positions + count);
  longer.positions.index_copy_(0, longer.virtual_places,
                               at::arange(count, batch.positions.options()).repeat({examples}));
  return longer;
}

}  // namespace dtrain::model
