#include "model/forward_context.h"

#include <ATen/Context.h>

#include <mutex>

namespace dtrain::model {
namespace {

// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
std::uint64_t mixed(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

}  // namespace

ForwardContext::ForwardContext(const DropoutStream& stream, int first_trainable_stage)
    : training_(true),
      first_trainable_stage_(first_trainable_stage),
      key_(mixed(mixed(mixed(stream.seed) ^ stream.step) ^ stream.shard)) {}

void ForwardContext::begin_pass(at::Device device) const {
  if (!training_ || device.is_cpu()) return;
  auto generator = at::globalContext().defaultGenerator(device);
  const std::scoped_lock lock(generator.mutex());
  generator.set_current_seed(mixed(key_ ^ site_) >> 32);  // of a size that users' seeds have, too
}

at::Tensor ForwardContext::product_input(const at::Tensor& input) {
  if (matmul_type != at::kBFloat16 || input.scalar_type() == matmul_type) return input.detach();
  if (!last_input_.is_same(input)) {
    last_product_input_ = input.detach().to(matmul_type);
    last_input_ = input;
  }
  return last_product_input_;
}

kernels::Dropout ForwardContext::next_dropout(double probability) {
  // A site is counted whether it drops or not, so that freezing a part moves no other part's random numbers.
  const std::uint32_t site = site_++;
  return {key_, site, training() ? probability : 0.0};
}

}  // namespace dtrain::model
