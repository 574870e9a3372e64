#include "model/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "model/autograd.h"
#include "model/kernels/stored_type.h"

namespace dtrain::model {
namespace {

// The keys of packed sequences and their values, where each sequence begins among them, and the most that one has.
struct Keys {
  at::Tensor key;    // [keys, heads * size]
  at::Tensor value;  // [keys, heads * size]
  at::Tensor offsets;
  std::int64_t max_keys = 0;
};

struct JoinNode : torch::autograd::Node {
  variable_list apply(variable_list&& gradients) override {
    const at::NoGradGuard no_grad;
    const auto part = [&](std::size_t input, const at::Tensor& places, at::ScalarType type) {
      return task_should_compute_output(input) ? gradients[0].index_select(0, places).to(type) : at::Tensor();
    };
    return {part(0, extra_places, extra_type), part(1, own_places, gradients[0].scalar_type())};
  }
  at::Tensor extra_places;
  at::Tensor own_places;
  at::ScalarType extra_type = at::kFloat;
};

// `extra` [rows, width] and `own` [tokens, width] in one tensor of own's type, each row at its place.
at::Tensor join(const at::Tensor& extra, const at::Tensor& own, const at::Tensor& extra_places,
                const at::Tensor& own_places) {
  at::Tensor joined;
  {
    const at::NoGradGuard no_grad;
    joined = at::empty({extra.size(0) + own.size(0), own.size(1)}, own.options());
    joined.index_copy_(0, extra_places, extra.to(own.scalar_type())).index_copy_(0, own_places, own);
  }
  if (!recording() || !(extra.requires_grad() || own.requires_grad())) return joined;
  auto node = std::make_shared<JoinNode>();
  node->extra_places = extra_places;
  node->own_places = own_places;
  node->extra_type = extra.scalar_type();
  return with_history(joined, node, extra, own);
}

Keys keys_of(const at::Tensor& key, const at::Tensor& value, const TokenBatch& batch, const KeysAndValues& extra) {
  if (!extra.keys.defined()) return {key, value, batch.offsets, batch.max_length};
  const std::int64_t examples = batch.examples();
  const std::int64_t count = extra.keys.size(1);
  const auto begins = at::arange(examples + 1, at::kLong) * count;
  const auto offsets = batch.offsets + begins;
  const auto extra_places =
      on_device((offsets.slice(0, 0, examples).unsqueeze(1) + at::arange(count, at::kLong)).view({-1}), key.device());
  // Rows of no example stay at the end.
  const auto lengths = at::cat({batch.offsets.diff(), at::full({1}, batch.tokens() - batch.used_tokens(), at::kLong)});
  const auto shift = at::cat({begins.slice(0, 1), begins.slice(0, examples)});
  const auto own_places =
      on_device(at::arange(batch.tokens(), at::kLong) + at::repeat_interleave(shift, lengths), key.device());
  const auto rows = [&](const at::Tensor& added) { return added.reshape({examples * count, key.size(1)}); };
  return {join(rows(extra.keys), key, extra_places, own_places),
          join(rows(extra.values), value, extra_places, own_places), offsets, batch.max_length + count};
}

template <typename Real, typename Stored>
kernels::Attention<Real, Stored> arguments(const at::Tensor& query, const Keys& keys, const at::Tensor& offsets,
                                           std::int64_t heads, const kernels::Dropout& dropout) {
  kernels::Attention<Real, Stored> a{};
  a.query = kernels::stored_data<Stored>(query);
  a.key = kernels::stored_data<Stored>(keys.key);
  a.value = kernels::stored_data<Stored>(keys.value);
  a.stride = query.size(1);
  a.offsets = offsets.const_data_ptr<std::int64_t>();
  a.key_offsets = keys.offsets.const_data_ptr<std::int64_t>();
  a.heads = heads;
  a.size = query.size(1) / heads;
  a.max_keys = keys.max_keys;
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
    auto key_gradient = rows_like(keys.key, keys.offsets);
    auto value_gradient = rows_like(keys.key, keys.offsets);
    kernels::for_stored_type(upstream, [&]<typename Real, typename Stored>() {
      auto a = arguments<Real, Stored>(query, keys, offsets, heads, dropout);
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
    for (auto* tensor : {&query, &keys.key, &keys.value, &output, &log_sum}) tensor->reset();
  }

  at::Tensor query, offsets, output, log_sum;
  Keys keys;
  std::int64_t heads = 0;
  kernels::Dropout dropout;
};

// Of the batch's sequences and of their keys, which may be longer.
std::pair<DeviceSequences, DeviceSequences> sequences_of(const TokenBatch& batch, const Keys& keys,
                                                         const KeysAndValues& extra) {
  const std::int64_t rest = batch.tokens() - batch.used_tokens();
  const auto device = keys.key.device();
  const auto queries = batch.sequences.offsets.defined()
                           ? batch.sequences
                           : device_sequences(batch.offsets, batch.max_length, rest, device);
  return {queries, extra.keys.defined() ? device_sequences(keys.offsets, keys.max_keys, rest, device) : queries};
}

// [tokens, heads * size] -> [examples, heads, longest, size], zero where an example has ended.
at::Tensor padded(const at::Tensor& packed, const DeviceSequences& sequences, std::int64_t heads) {
  const std::int64_t examples = sequences.mask.size(0);
  const std::int64_t longest = sequences.mask.size(3);
  return at::zeros({examples * longest, packed.size(1)}, packed.options())
      .index_copy(0, sequences.places, packed.slice(0, 0, sequences.places.size(0)))
      .view({examples, longest, heads, packed.size(1) / heads})
      .transpose(1, 2);
}

// Without dropout. The rows of no example are a sequence too: what nothing writes could hold a NaN, which no zero takes
// away.
at::Tensor packed_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const TokenBatch& batch, std::int64_t heads, const KeysAndValues& extra) {
  const Keys keys = keys_of(key, value, batch, extra);
  const auto [queries, keyed] = sequences_of(batch, keys, extra);
  const auto by_head = [&](const at::Tensor& packed) {
    return packed.view({1, packed.size(0), heads, packed.size(1) / heads});
  };
  const std::int64_t rest = batch.tokens() - batch.used_tokens();
  const bool needed = recording() && (query.requires_grad() || keys.key.requires_grad() || keys.value.requires_grad());
  const auto output = std::get<0>(at::_efficient_attention_forward(
      by_head(query), by_head(keys.key), by_head(keys.value), {}, queries.offsets, keyed.offsets,
      std::max(batch.max_length, rest), std::max(keys.max_keys, rest), /*dropout_p=*/0,
      /*custom_mask_type: none*/ 0, /*compute_log_sumexp, which backward needs*/ needed));
  return output.reshape({query.size(0), query.size(1)});
}

}  // namespace

at::Tensor attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const TokenBatch& batch,
                     std::int64_t heads, const kernels::Dropout& dropout, const KeysAndValues& extra) {
  if (!query.is_cpu()) {
    // With dropout over packed sequences of LibTorch 2.11, training broke down at high learning rates, as it does on
    // the CPU where backward is made to draw another mask than forward (docs/performance.md).
    const bool packed = dropout.probability == 0 && query.scalar_type() != at::kDouble;
    return packed ? packed_attention(query, key, value, batch, heads, extra)
                  : padded_attention(query, key, value, batch, heads, dropout, extra);
  }
  const Keys keys = keys_of(key, value, batch, extra);
  const bool needed = recording() && (query.requires_grad() || keys.key.requires_grad() || keys.value.requires_grad());
  auto node = needed ? std::make_shared<AttentionNode>() : nullptr;
  at::Tensor output;
  {
    const at::NoGradGuard no_grad;
    const auto plain_query = query.contiguous();
    const Keys plain_keys{keys.key.contiguous(), keys.value.contiguous(), keys.offsets, keys.max_keys};
    output = rows_like(plain_query, batch.offsets);
    at::Tensor log_sum;
    if (needed) {
      const auto real = query.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
      log_sum = at::empty({query.size(0), heads}, query.options().dtype(real));
    }
    kernels::for_stored_type(plain_query, [&]<typename Real, typename Stored>() {
      auto a = arguments<Real, Stored>(plain_query, plain_keys, batch.offsets, heads, dropout);
      a.output = kernels::mutable_stored_data<Stored>(output);
      if (needed) a.log_sum = log_sum.mutable_data_ptr<Real>();
      at::parallel_for(0, batch.examples() * heads, 1, [&](std::int64_t first, std::int64_t last) {
        kernels::loops<Real, Stored>().attention_forward(a, first, last);
      });
    });
    if (needed) {
      node->query = plain_query.detach();
      node->keys = {plain_keys.key.detach(), plain_keys.value.detach(), keys.offsets, keys.max_keys};
      node->output = output.detach();
      node->log_sum = log_sum;
      node->offsets = batch.offsets;
      node->heads = heads;
      node->dropout = dropout;
    }
  }
  return needed ? with_history(output, node, query, keys.key, keys.value) : output;
}

at::Tensor padded_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const TokenBatch& batch, std::int64_t heads, const kernels::Dropout& dropout,
                            const KeysAndValues& extra) {
  const Keys keys = keys_of(key, value, batch, extra);
  const auto [queries, keyed] = sequences_of(batch, keys, extra);
  const auto output =
      at::scaled_dot_product_attention(padded(query, queries, heads), padded(keys.key, keyed, heads),
                                       padded(keys.value, keyed, heads), keyed.mask, dropout.probability);
  const auto rows = output.transpose(1, 2)
                        .reshape({batch.examples() * batch.max_length, query.size(1)})
                        .index_select(0, queries.places);
  return at::constant_pad_nd(rows, {0, 0, 0, batch.tokens() - batch.used_tokens()});
}

}  // namespace dtrain::model
