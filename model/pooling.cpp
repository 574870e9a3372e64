#include "model/pooling.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/nearest_name.h"
#include "model/autograd.h"

namespace dtrain::model {
namespace {

// [tokens] int64: the example of each token.
at::Tensor example_of_token(const at::Tensor& offsets, const at::Tensor& like) {
  const auto lengths = offsets.diff();
  return on_device(at::repeat_interleave(at::arange(lengths.size(0), lengths.options()), lengths), like.device());
}

// Always in the same order: a GPU's index_add_ adds in any.
at::Tensor example_sums(const at::Tensor& rows, const TokenBatch& batch, const at::Tensor& examples) {
  if (rows.is_cpu()) return at::zeros({batch.examples(), rows.size(1)}, rows.options()).index_add_(0, examples, rows);
  return at::segment_reduce(rows, "sum", std::nullopt, std::nullopt, on_device(batch.offsets, rows.device()),
                            /*axis=*/0, /*unsafe, or it would wait to check the offsets*/ true);
}

struct MeanNode : torch::autograd::Node {
  variable_list apply(variable_list&& gradients) override {
    const at::NoGradGuard no_grad;
    const auto rows = at::mul(gradients[0], inverse_lengths).index_select(0, examples);
    return {at::constant_pad_nd(rows, {0, 0, 0, tokens - rows.size(0)})};
  }
  at::Tensor inverse_lengths;
  at::Tensor examples;
  std::int64_t tokens = 0;
};

}  // namespace

std::string pooling_name(Pooling pooling) {
  return pooling == Pooling::pooler ? "pooler" : pooling == Pooling::cls ? "cls" : "mean";
}

Pooling pooling_from_name(const std::string& name) {
  for (const Pooling pooling : {Pooling::pooler, Pooling::cls, Pooling::mean}) {
    if (pooling_name(pooling) == name) return pooling;
  }
  throw UsageError(fmt::format("unknown pooling '{}'; expected auto, pooler, cls or mean{}", name,
                               did_you_mean(name, {"auto", "pooler", "cls", "mean"})));
}

at::Tensor mean_tokens(const at::Tensor& hidden, const TokenBatch& batch) {
  at::Tensor output;
  at::Tensor inverse_lengths;
  at::Tensor examples;
  {
    const at::NoGradGuard no_grad;
    examples = example_of_token(batch.offsets, hidden);
    inverse_lengths =
        on_device(batch.offsets.diff().to(hidden.scalar_type()).reciprocal().unsqueeze(1), hidden.device());
    output = example_sums(hidden.slice(0, 0, batch.used_tokens()), batch, examples);
    output.mul_(inverse_lengths);
  }
  if (!recording() || !hidden.requires_grad()) return output;
  auto node = std::make_shared<MeanNode>();
  node->inverse_lengths = inverse_lengths;
  node->examples = examples;
  node->tokens = hidden.size(0);
  return with_history(output, node, hidden);
}

at::Tensor first_tokens(const at::Tensor& hidden, const TokenBatch& batch) {
  return hidden.index_select(0, on_device(batch.offsets.slice(0, 0, -1), hidden.device()));
}

}  // namespace dtrain::model
