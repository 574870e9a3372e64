#include "model/dropout.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include "model/autograd.h"
#include "model/kernels/stored_type.h"

namespace dtrain::model {
namespace {

at::Tensor masked(const at::Tensor& input, const kernels::Dropout& dropout) {
  auto output = at::empty_like(input);
  kernels::for_stored_type(input, [&]<typename Real, typename Stored>() {
    const auto* in = kernels::stored_data<Stored>(input);
    auto* out = kernels::mutable_stored_data<Stored>(output);
    constexpr std::int64_t kBlock = 128;
    const std::int64_t blocks = (input.numel() + kBlock - 1) / kBlock;
    at::parallel_for(0, blocks, 256, [&](std::int64_t first, std::int64_t last) {
      kernels::loops<Real, Stored>().dropout(dropout, in, out, first * kBlock, std::min(last * kBlock, input.numel()));
    });
  });
  return output;
}

struct DropoutNode : torch::autograd::Node {
  variable_list apply(variable_list&& gradients) override {
    const at::NoGradGuard no_grad;
    return {masked(gradients[0].contiguous(), dropout)};
  }
  kernels::Dropout dropout;
};

}  // namespace

at::Tensor dropout(const at::Tensor& input, const kernels::Dropout& dropout) {
  if (dropout.probability <= 0) return input;
  if (!input.is_cpu()) return at::dropout(input, dropout.probability, true);
  at::Tensor output;
  {
    const at::NoGradGuard no_grad;
    output = masked(input.contiguous(), dropout);
  }
  if (!recording() || !input.requires_grad()) return output;
  auto node = std::make_shared<DropoutNode>();
  node->dropout = dropout;
  return with_history(output, node, input);
}

}  // namespace dtrain::model
