#include "model/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "model/autograd.h"
#include "model/kernels/real_type.h"

namespace dtrain::model {
namespace {

template <typename Real>
kernels::Attention<Real> arguments(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                   const at::Tensor& offsets, std::int64_t heads, std::int64_t max_length,
                                   const kernels::Dropout& dropout) {
  kernels::Attention<Real> a{};
  a.query = query.const_data_ptr<Real>();
  a.key = key.const_data_ptr<Real>();
  a.value = value.const_data_ptr<Real>();
  a.stride = query.size(1);
  a.offsets = offsets.const_data_ptr<std::int64_t>();
  a.heads = heads;
  a.size = query.size(1) / heads;
  a.max_length = max_length;
  a.scale = static_cast<Real>(1 / std::sqrt(static_cast<double>(a.size)));
  a.dropout = dropout;
  return a;
}

struct AttentionNode : torch::autograd::Node {
  variable_list apply(variable_list&& gradients) override {
    const at::NoGradGuard no_grad;
    const auto upstream = gradients[0].contiguous();
    auto query_gradient = at::empty_like(query);
    auto key_gradient = at::empty_like(query);
    auto value_gradient = at::empty_like(query);
    kernels::for_real_type(upstream, [&]<typename Real>(Real) {
      auto a = arguments<Real>(query, key, value, offsets, heads, max_length, dropout);
      a.output = output.mutable_data_ptr<Real>();
      a.log_sum = log_sum.mutable_data_ptr<Real>();
      a.output_gradient = upstream.const_data_ptr<Real>();
      a.query_gradient = query_gradient.mutable_data_ptr<Real>();
      a.key_gradient = key_gradient.mutable_data_ptr<Real>();
      a.value_gradient = value_gradient.mutable_data_ptr<Real>();
      a.gradient_stride = query.size(1);
      at::parallel_for(0, (offsets.size(0) - 1) * heads, 1, [&](std::int64_t first, std::int64_t last) {
        kernels::loops<Real>().attention_backward(a, first, last);
      });
    });
    return {query_gradient, key_gradient, value_gradient};
  }

  void release_variables() override {
    for (auto* tensor : {&query, &key, &value, &output, &log_sum}) tensor->reset();
  }

  at::Tensor query, key, value, offsets, output, log_sum;
  std::int64_t heads = 0;
  std::int64_t max_length = 0;
  kernels::Dropout dropout;
};

}  // namespace

at::Tensor attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const TokenBatch& batch,
                     std::int64_t heads, const kernels::Dropout& dropout) {
  if (!query.is_cpu()) return padded_attention(query, key, value, batch, heads, dropout);
  const bool needed = recording() && (query.requires_grad() || key.requires_grad() || value.requires_grad());
  auto node = needed ? std::make_shared<AttentionNode>() : nullptr;
  at::Tensor output;
  {
    const at::NoGradGuard no_grad;
    const auto plain_query = query.contiguous();
    const auto plain_key = key.contiguous();
    const auto plain_value = value.contiguous();
    output = at::empty_like(plain_query);
    at::Tensor log_sum;
    if (needed) log_sum = at::empty({query.size(0), heads}, query.options());
    kernels::for_real_type(plain_query, [&]<typename Real>(Real) {
      auto a = arguments<Real>(plain_query, plain_key, plain_value, batch.offsets, heads, batch.max_length, dropout);
      a.output = output.mutable_data_ptr<Real>();
      if (needed) a.log_sum = log_sum.mutable_data_ptr<Real>();
      at::parallel_for(0, batch.examples() * heads, 1, [&](std::int64_t first, std::int64_t last) {
        kernels::loops<Real>().attention_forward(a, first, last);
      });
    });
    if (needed) {
      node->query = plain_query.detach();
      node->key = plain_key.detach();
      node->value = plain_value.detach();
      node->output = output.detach();
      node->log_sum = log_sum;
      node->offsets = batch.offsets;
      node->heads = heads;
      node->max_length = batch.max_length;
      node->dropout = dropout;
    }
  }
  return needed ? with_history(output, node, query, key, value) : output;
}

at::Tensor padded_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const TokenBatch& batch, std::int64_t heads, const kernels::Dropout& dropout) {
  const std::int64_t examples = batch.examples();
  const std::int64_t size = query.size(1) / heads;
  const auto lengths = batch.offsets.diff();
  const auto valid =
      (at::arange(batch.max_length, lengths.options()).unsqueeze(0) < lengths.unsqueeze(1)).to(query.device());
  // Where each token of the packed batch stands in the padded one.
  const auto place = valid.view({-1}).nonzero().squeeze(1);
  const auto padded = [&](const at::Tensor& packed) {
    return at::zeros({examples * batch.max_length, heads * size}, packed.options())
        .index_copy(0, place, packed)
        .view({examples, batch.max_length, heads, size})
        .transpose(1, 2);
  };
  const auto mask = valid.view({examples, 1, 1, batch.max_length});
  const auto output =
      at::scaled_dot_product_attention(padded(query), padded(key), padded(value), mask, dropout.probability);
  return output.transpose(1, 2).reshape({examples * batch.max_length, heads * size}).index_select(0, place);
}

}  // namespace dtrain::model
