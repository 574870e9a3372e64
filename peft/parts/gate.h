#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "model/forward_context.h"
#include "model/parameter.h"
#include "model/token_batch.h"

namespace dtrain::peft {

/// How much of an added part an example gets: the mean over its tokens of sigmoid(weight x + bias) (Mao et al., 2022,
/// UniPELT). adapter-hub averages over the padding of a batch, too; here an example's gate does not depend on the
/// examples beside it.
class Gate {
 public:
  /// `path` is the module's; `count` gates are computed from inputs like `like`. The weight is drawn as adapter-hub
  /// draws it, the bias within `bias_bound`.
  Gate(const std::string& path, std::int64_t in, std::int64_t count, double bias_bound, const at::Tensor& like,
       at::Generator& generator);

  /// [tokens, in] -> [examples, count].
  at::Tensor of_examples(const at::Tensor& input, const model::TokenBatch& batch, model::ForwardContext& context);
  /// [tokens, in] -> [tokens, count]: that of the example of each token; zero for tokens of none.
  at::Tensor of_tokens(const at::Tensor& input, const model::TokenBatch& batch, model::ForwardContext& context);

  std::vector<model::Parameter*> parameters() { return {&weight_, &bias_}; }

 private:
  model::Parameter weight_;  // [count, in]
  model::Parameter bias_;    // [count]
};

}  // namespace dtrain::peft
