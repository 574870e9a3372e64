#include "model/embedding.h"

#include <ATen/ATen.h>

#include "model/autograd.h"

namespace dtrain::model {
namespace {

struct EmbeddingNode : torch::autograd::Node {
  variable_list apply(variable_list&& gradients) override {
    const at::NoGradGuard no_grad;
    for (int i = 0; i < 3; ++i) {
      if (tables[i]->trainable()) tables[i]->add_rows(indices[i], gradients[0]);
    }
    return {};
  }
  Parameter* tables[3] = {};
  at::Tensor indices[3];
};

}  // namespace

at::Tensor embed_tokens(const TokenBatch& batch, Parameter& words, Parameter& positions, Parameter& types) {
  at::Tensor output;
  {
    const at::NoGradGuard no_grad;
    output = words.value().index_select(0, batch.ids);
    output.add_(types.value().index_select(0, batch.types));
    output.add_(positions.value().index_select(0, batch.positions));
  }
  if (!recording() || !(words.trainable() || positions.trainable() || types.trainable())) return output;
  auto node = std::make_shared<EmbeddingNode>();
  node->tables[0] = &words;
  node->tables[1] = &positions;
  node->tables[2] = &types;
  node->indices[0] = batch.ids;
  node->indices[1] = batch.positions;
  node->indices[2] = batch.types;
  for (auto* table : node->tables) {
    if (table->trainable()) table->expect_gradient();
  }
  torch::autograd::set_history(output, node);
  return output;
}

}  // namespace dtrain::model
