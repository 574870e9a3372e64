#include "model/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "model/autograd.h"
#include "model/kernels/stored_type.h"

namespace dtrain::model {
namespace {

template <typename Real, typename Stored>
kernels::Attention<Real, Stored> arguments(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                           const at::Tensor& offsets, std::int64_t heads, std::int64_t max_length,
                                           const kernels::Dropout& dropout) {
  kernels::Attention<Real, Stored> a{};
  a.query = kernels::stored_data<Stored>(query);
  a.key = kernels::stored_data<Stored>(key);
  a.value = kernels::stored_data<Stored>(value);
  a.stride = query.size(1);
  a.offsets = offsets.const_data_ptr<std::int64_t>();
  a.heads = heads;
  a.size = query.size(1) / heads;
  a.max_length = max_length;
  a.scale = static_cast<Real>(1 / std::sqrt(static_cast<double>(a.size)));
  a.dropout = dropout;
  return a;
}

// Rows to be computed for every token of an example; the others are zero.
at::Tensor rows_like(const at::Tensor& like, const at::Tensor& offsets) {
  auto rows = at::empty_like(like);
  rows.slice(0, offsets.const_data_ptr<std::int64_t>()[offsets.size(0) - 1]).zero_();
  return rows;
}

struct AttentionNode : torch::autograd::Node {
  variable_list apply(variable_list&& gradients) override {
    const at::NoGradGuard no_grad;
    const auto upstream = gradients[0].contiguous();
    auto query_gradient = rows_like(query, offsets);
    auto key_gradient = rows_like(query, offsets);
    auto value_gradient = rows_like(query, offsets);
    kernels::for_stored_type(upstream, [&]<typename Real, typename Stored>() {
      auto a = arguments<Real, Stored>(query, key, value, offsets, heads, max_length, dropout);
      a.output = kernels::mutable_stored_data<Stored>(output);
      a.log_sum = log_sum.mutable_data_ptr<Real>();
      a.output_gradient = kernels::stored_data<Stored>(upstream);
      a.query_gradient = kernels::mutable_stored_data<Stored>(query_gradient);
      a.key_gradient = kernels::mutable_stored_data<Stored>(key_gradient);
      a.value_gradient = kernels::mutable_stored_data<Stored>(value_gradient);
      a.gradient_stride = query.size(1);
      at::parallel_for(0, (offsets.size(0) - 1) * heads, 1, [&](std::int64_t first, std::int64_t last) {
        kernels::loops<Real, Stored>().attention_backward(a, first, last);
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
    output = rows_like(plain_query, batch.offsets);
    at::Tensor log_sum;
    if (needed) {
      const auto real = query.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
      log_sum = at::empty({query.size(0), heads}, query.options().dtype(real));
    }
    kernels::for_stored_type(plain_query, [&]<typename Real, typename Stored>() {
      auto a =
          arguments<Real, Stored>(plain_query, plain_key, plain_value, batch.offsets, heads, batch.max_length, dropout);
      a.output = kernels::mutable_stored_data<Stored>(output);
      if (needed) a.log_sum = log_sum.mutable_data_ptr<Real>();
      at::parallel_for(0, batch.examples() * heads, 1, [&](std::int64_t first, std::int64_t last) {
        kernels::loops<Real, Stored>().attention_forward(a, first, last);
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
        .index_copy(0, place, packed.slice(0, 0, batch.used_tokens()))
        .view({examples, batch.max_length, heads, size})
        .transpose(1, 2);
  };
  const auto mask = valid.view({examples, 1, 1, batch.max_length});
  const auto output =
      at::scaled_dot_product_attention(padded(query), padded(key), padded(value), mask, dropout.probability);
  const auto rows = output.transpose(1, 2).reshape({examples * batch.max_length, heads * size}).index_select(0, place);
  return at::constant_pad_nd(rows, {0, 0, 0, batch.tokens() - batch.used_tokens()});
}

}  // namespace dtrain::model
