#include "peft/parts/gate.h"

#include <ATen/ATen.h>

#include "model/pooling.h"

namespace dtrain::peft {

Gate::Gate(const std::string& path, std::int64_t in, std::int64_t count, double bias_bound, const at::Tensor& like,
           at::Generator& generator)
    : weight_(path + ".weight", at::empty({count, in}).normal_(0, 0.02, generator).to(like.options())),
      bias_(path + ".bias", at::empty({count}).uniform_(-bias_bound, bias_bound, generator).to(like.options())) {
  weight_.set_trainable(true);
  bias_.set_trainable(true);
}

at::Tensor Gate::of_examples(const at::Tensor& input, const model::TokenBatch& batch, model::ForwardContext& context) {
  const auto weight = weight_.use();
  context.count_matmuls(input, weight.t());
  const auto open = at::sigmoid(at::linear(input.to(weight_.value().scalar_type()), weight, bias_.use()));
  return model::mean_tokens(open, batch);
}

at::Tensor Gate::of_tokens(const at::Tensor& input, const model::TokenBatch& batch, model::ForwardContext& context) {
  const auto lengths = batch.offsets.diff();
  const auto example = at::repeat_interleave(at::arange(lengths.size(0), lengths.options()), lengths);
  const auto rows = of_examples(input, batch, context).index_select(0, model::on_device(example, input.device()));
  return at::constant_pad_nd(rows, {0, 0, 0, batch.tokens() - batch.used_tokens()});
}

}  // namespace dtrain::peft
