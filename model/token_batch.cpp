#include "model/token_batch.h"

#include <ATen/ATen.h>

namespace dtrain::model {

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
  const std::int64_t tokens = (used + kTokenMultiple - 1) / kTokenMultiple * kTokenMultiple;
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
