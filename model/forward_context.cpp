#include "model/forward_context.h"

#include <ATen/Context.h>

#include <mutex>

#include "base/random.h"

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

}  // namespace dtrain::model
