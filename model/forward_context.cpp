#include "model/forward_context.h"

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <mutex>

#include "base/random.h"
#include "model/token_batch.h"

namespace dtrain::model {
namespace {

std::uint64_t mixed(std::uint64_t value) { return SplitMix64(value).next(); }

}  // namespace

ForwardContext::ForwardContext(const DropoutStream& stream, int first_trainable_stage)
    : training_(true),
      first_trainable_stage_(first_trainable_stage),
      key_(mixed(stream_seed(stream.seed, Purpose::dropout, stream.step) ^ stream.shard)) {}

void ForwardContext::begin_pass(at::Device device) const {
  if (!training_ || device.is_cpu()) return;
  auto generator = at::globalContext().defaultGenerator(device);
  const std::scoped_lock lock(generator.mutex());
  generator.set_current_seed(mixed(key_ ^ site_) >> 32);  // of a size that users' seeds have, too
}

at::Tensor ForwardContext::matmul_input(const at::Tensor& input) {
  if (matmul_type != at::kBFloat16 || input.scalar_type() == matmul_type) return input.detach();
  if (!last_input_.is_same(input)) {
    last_matmul_input_ = input.detach().to(matmul_type);
    last_input_ = input;
  }
  return last_matmul_input_;
}

kernels::Dropout ForwardContext::next_dropout(double probability) {
  // A site is counted whether it drops or not, so that freezing a part moves no other part's random numbers.
  const std::uint32_t site = site_++;
  return {key_, site, training() ? probability : 0.0};
}

void ForwardContext::count_matmuls(std::int64_t m, std::int64_t k, std::int64_t n, int times) {
  flop_.matmuls += 2.0 * static_cast<double>(m) * static_cast<double>(k) * static_cast<double>(n) * times;
}

void ForwardContext::count_matmuls(const at::Tensor& left, const at::Tensor& right) {
  const bool records = at::GradMode::is_enabled();
  const int gradients = records ? (left.requires_grad() ? 1 : 0) + (right.requires_grad() ? 1 : 0) : 0;
  // The larger of the two has the leading sizes of the result.
  const std::int64_t rows = left.dim() >= right.dim()
                                ? left.numel() / left.size(-1)
                                : right.numel() / (right.size(-1) * right.size(-2)) * left.size(-2);
  count_matmuls(rows, left.size(-1), right.size(-1), 1 + gradients);
}

void ForwardContext::count_attention(const TokenBatch& examples, std::int64_t hidden, std::int64_t extra_keys,
                                     bool has_history) {
  // Two matmuls forward; backward makes the probabilities again, and then the four gradients.
  const double matmuls = has_history ? 7 : 2;
  const auto* offsets = examples.offsets.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < examples.examples(); ++i) {
    const auto queries = static_cast<double>(offsets[i + 1] - offsets[i]);
    flop_.attention +=
        matmuls * 2 * queries * (queries + static_cast<double>(extra_keys)) * static_cast<double>(hidden);
  }
}

}  // namespace dtrain::model
