#pragma once

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>
#include <utility>

namespace dtrain::model {

using torch::autograd::variable_list;

/// Whether anything computed now may be asked for a gradient.
inline bool recording() { return at::GradMode::is_enabled(); }

/// Makes `output` the result of `node` in LibTorch's graph, with the gradients that node->apply returns flowing to
/// `inputs` in order (an undefined one, or one that needs no gradient, gets none).
template <typename... Inputs>
at::Tensor with_history(at::Tensor output, const std::shared_ptr<torch::autograd::Node>& node,
                        const Inputs&... inputs) {
  node->set_next_edges(torch::autograd::collect_next_edges(inputs...));
  torch::autograd::set_history(output, node);
  return output;
}

}  // namespace dtrain::model
