#include "model/embedding.h"

#include <ATen/ATen.h>

#include <vector>

#include "model/autograd.h"

namespace dtrain::model {
namespace {

struct Lookup {
  Parameter* table;
  at::Tensor index;
};

struct EmbeddingNode : torch::autograd::Node {
  variable_list apply(variable_list&& gradients) override {
    const at::NoGradGuard no_grad;
    for (const Lookup& lookup : lookups) {
      // A virtual token's row of words is none of the table's.
      const bool all = !virtual_places.defined() || lookup.table != words;
      lookup.table->add_rows(lookup.index, all ? gradients[0] : gradients[0].index_fill(0, virtual_places, 0));
    }
    if (!virtual_places.defined() || !task_should_compute_output(0)) return {at::Tensor()};
    return {gradients[0].index_select(0, virtual_places).view({-1, virtual_tokens, gradients[0].size(1)}).sum(0)};
  }
  std::vector<Lookup> lookups;  // of tables that train
  const Parameter* words = nullptr;
  at::Tensor virtual_places;
  std::int64_t virtual_tokens = 0;
};

}  // namespace

at::Tensor embed_tokens(const TokenBatch& batch, Parameter& words, Parameter& positions, Parameter* types,
                        const at::Tensor& virtual_words) {
  at::Tensor output;
  {
    const at::NoGradGuard no_grad;
    output = words.value().index_select(0, batch.ids);
    if (batch.virtual_places.defined()) {
      output.index_copy_(0, batch.virtual_places, virtual_words.repeat({batch.examples(), 1}));
    }
    if (types != nullptr) output.add_(types->value().index_select(0, batch.types));
    output.add_(positions.value().index_select(0, batch.positions));
  }
  auto node = std::make_shared<EmbeddingNode>();
  node->words = &words;
  if (words.trainable()) node->lookups.push_back({&words, batch.ids});
  if (positions.trainable()) node->lookups.push_back({&positions, batch.positions});
  if (types != nullptr && types->trainable()) node->lookups.push_back({types, batch.types});
  const bool virtual_train = virtual_words.defined() && virtual_words.requires_grad();
  if (!recording() || (node->lookups.empty() && !virtual_train)) return output;
  for (const Lookup& lookup : node->lookups) lookup.table->expect_gradient();
  node->virtual_places = batch.virtual_places;
  node->virtual_tokens = virtual_words.defined() ? virtual_words.size(0) : 0;
  return with_history(output, node, virtual_words);
}

}  // namespace dtrain::model
