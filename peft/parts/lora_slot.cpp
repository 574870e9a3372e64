#include "peft/parts/lora_slot.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <tuple>

#include "base/error.h"
#include "model/dropout.h"

namespace dtrain::peft {
namespace {

using model::Linear;

constexpr const char* kNiter = "pissa_niter_";

// The N of "pissa_niter_N"; -1 for another word.
int iterations_of(const std::string& init) {
  int count = -1;
  if (!init.starts_with(kNiter)) return count;
  const char* end = init.data() + init.size();
  const auto [stop, error] = std::from_chars(init.data() + std::string(kNiter).size(), end, count);
  return error == std::errc() && stop == end ? count : -1;
}

bool takes_from_base(const std::string& init) { return init == "pissa" || init == "olora" || iterations_of(init) >= 0; }

// The leading singular vectors as Halko, Martinsson and Tropp (2011) find them; torch.svd_lowrank.
std::tuple<at::Tensor, at::Tensor, at::Tensor> low_rank_svd(const at::Tensor& matrix, std::int64_t r, int iterations,
                                                            at::Generator& generator) {
  const bool wide = matrix.size(0) < matrix.size(1);
  const auto tall = wide ? matrix.t() : matrix;
  const auto basis = [](const at::Tensor& columns) { return std::get<0>(at::linalg_qr(columns)); };
  auto q = basis(at::mm(tall, at::randn({tall.size(1), r}, generator, matrix.options())));
  for (int i = 0; i < iterations; ++i) q = basis(at::mm(tall, basis(at::mm(tall.t(), q))));
  const auto [u, s, vh] = at::linalg_svd(at::mm(q.t(), tall), false);
  const auto left = at::mm(q, u);
  return wide ? std::tuple(vh.t(), s, left.t()) : std::tuple(left, s, vh);
}

// PiSSA (Meng et al., 2024, NeurIPS): the part of the weight with the largest singular values.
LoraFactors principal_part(const at::Tensor& weight, const LoraUpdate& update, at::Generator& generator) {
  const int iterations = iterations_of(update.init);
  const auto [u, s, vh] =
      iterations < 0 ? at::linalg_svd(weight, false) : low_rank_svd(weight, update.r, iterations, generator);
  const auto root = at::diag(at::sqrt(s.slice(0, 0, update.r) / update.scale));
  return {at::mm(root, vh.slice(0, 0, update.r)), at::mm(u.slice(1, 0, update.r), root)};
}

// OLoRA (Büyükakyüz, 2024, arXiv:2406.01775).
LoraFactors orthonormal_part(const at::Tensor& weight, std::int64_t r) {
  const auto [q, upper] = at::linalg_qr(weight);
  return {upper.slice(0, 0, r).contiguous(), q.slice(1, 0, r).contiguous()};
}

// Two factors whose product is zero because they lie in spaces that are orthogonal to each other.
LoraFactors orthogonal_factors(const Linear& base, std::int64_t r, at::Generator& generator) {
  const auto normal = [&](std::int64_t rows, std::int64_t columns) { return at::randn({rows, columns}, generator); };
  const auto q = std::get<0>(at::linalg_qr(normal(r, r)));
  const auto odd = q.slice(0, 0, r, 2);
  const auto even = q.slice(0, 1, r, 2);
  const auto a = at::mm(normal(base.in_features(), r / 2), odd).t() / 10;
  return {a.contiguous(), at::mm(normal(r / 2, base.out_features()).t(), even) / 10};
}

LoraFactors drawn_factors(const Linear& base, const LoraUpdate& update, at::Generator& generator) {
  const std::int64_t in = base.in_features();
  const std::int64_t out = base.out_features();
  const std::int64_t r = update.r;
  const auto& like = base.weight.value();
  if (takes_from_base(update.init)) {
    if (r > std::min(in, out)) {
      throw UsageError(
          fmt::format("method 'lora': init_lora_weights={} takes r from {}, which is {} by {}: r is at most {}, "
                      "found {}",
                      update.init, base.path(), out, in, std::min(in, out), r));
    }
    // In float on the CPU, as PEFT decomposes, so that what it has written is found again.
    const auto weight = like.to(at::kCPU, at::kFloat);
    return update.init == "olora" ? orthonormal_part(weight, r) : principal_part(weight, update, generator);
  }
  if (update.init == "orthogonal") {
    if (r % 2 != 0) {
      throw UsageError(fmt::format("method 'lora': init_lora_weights=orthogonal needs an even r, found {}", r));
    }
    return orthogonal_factors(base, r, generator);
  }
  if (update.init == "gaussian") {
    return {at::empty({r, in}).normal_(0, 1 / static_cast<double>(r), generator), at::zeros({out, r})};
  }
  auto a = draw_uniform(r, in, like, generator);
  return {a, update.init == "false" ? draw_uniform(out, r, like, generator) : at::zeros({out, r})};
}

}  // namespace

FileKeys other_lora_keys() {
  constexpr const char* start =
      "where the matrices started; a start that changed the base model is refused by its name";
  return joined({keys_of(KeyUse::no_effect, start, {"eva_config", "corda_config", "loftq_config", "lora_ga_config"}),
                 {{"megatron_core", KeyUse::no_effect, "the module of megatron_config"},
                  {"qalora_group_size", KeyUse::no_effect, "of use_qalora"},
                  {"runtime_config", KeyUse::no_effect, "on which device parts are computed"},
                  {"ensure_weight_tying", KeyUse::no_effect, "an encoder's classifier has no tied weights"}},
                 keys_of(KeyUse::refused, "it changes what the adapter computes",
                         {"use_qalora", "use_bdlora", "arrow_config", "kasa_config", "monteclora_config",
                          "velora_config", "alora_invocation_tokens", "layer_replication", "target_parameters",
                          "trainable_token_indices", "megatron_config"})});
}

void check_lora_init(const std::string& word) {
  for (const char* known : {"true", "false", "gaussian", "orthogonal"}) {
    if (word == known) return;
  }
  if (takes_from_base(word)) return;
  throw UsageError(fmt::format(
      "method 'lora': init_lora_weights must be one of true, false, gaussian, orthogonal, pissa, pissa_niter_N, olora, "
      "found '{}'",
      word));
}

LoraSlot::LoraSlot(Linear& base, const LoraUpdate& update, at::Generator& generator)
    : LoraSlot(base, update, drawn_factors(base, update, generator)) {}

LoraSlot::LoraSlot(Linear& base, const LoraUpdate& update, const LoraFactors& start)
    : update_(update),
      a_(base.path() + ".lora_A.weight", start.a.to(base.weight.value().options())),
      b_(base.path() + ".lora_B.weight", start.b.to(base.weight.value().options())) {
  const at::NoGradGuard no_grad;
  if (takes_from_base(update.init)) {
    start_a_ = a_.value().clone();
    start_b_ = b_.value().clone();
    // On the CPU, as above: a GPU's matmul ends in other last digits.
    const auto taken = at::mm(update.scale * start_b_.to(at::kCPU), start_a_.to(at::kCPU));
    base.weight.set_value(base.weight.value() - taken.to(base.weight.value().device()));
  }
  const auto options = base.weight.value().options();
  if (update.bias) b_bias_.emplace(base.path() + ".lora_B.bias", at::zeros({base.out_features()}, options));
  if (update.dora) magnitude_.emplace(base.path() + ".lora_magnitude_vector", row_lengths(base));
  for (model::Parameter* parameter : parameters()) parameter->set_trainable(true);
}

std::vector<model::Parameter*> LoraSlot::parameters() {
  std::vector<model::Parameter*> all = {&a_, &b_};
  if (b_bias_) all.push_back(&*b_bias_);
  if (magnitude_) all.push_back(&*magnitude_);
  return all;
}

at::Tensor LoraSlot::forward(Linear& base, const at::Tensor& input, model::ForwardContext& context) {
  if (magnitude_) return forward_dora(base, input, context);
  const auto output = base.base_forward(input, context);
  const auto low = model::linear(model::dropout(input, context.next_dropout(update_.dropout)), a_, nullptr, context);
  const auto result = model::linear(low, b_, nullptr, context, update_.scale, output);
  return b_bias_ ? result + (b_bias_->use() * update_.scale).to(result.scalar_type()) : result;
}

at::Tensor LoraSlot::forward_dora(Linear& base, const at::Tensor& input, model::ForwardContext& context) {
  const auto dropout = context.next_dropout(update_.dropout);
  const auto dropped = model::dropout(input, dropout);
  const auto base_output = model::linear(dropped, base.weight, nullptr, context);
  const auto low = model::linear(dropped, a_, nullptr, context);
  const auto updated = model::linear(low, b_, nullptr, context, update_.scale, base_output);
  // Near one, where bfloat16 has steps of .004: what it multiplies is brought to its type.
  context.count_matmuls(base.out_features(), update_.r, base.in_features(), 1);
  const auto gain = magnitude_->use() / row_lengths(base);
  auto result = updated * gain;
  if (dropout.probability > 0) {
    // PEFT drops the input of the change, not that of the linear layer as it was.
    result = base.base_forward(input, context) + (result - base_output);
  } else if (base.bias.value().defined()) {
    result = result + base.bias.use();
  }
  return result.to(updated.scalar_type());
}

at::Tensor LoraSlot::updated_weight(const Linear& base) const {
  return at::addmm(base.weight.value(), b_.value(), a_.value(), 1, update_.scale);
}

at::Tensor LoraSlot::row_lengths(const Linear& base) const {
  const at::NoGradGuard no_grad;
  return at::linalg_vector_norm(updated_weight(base), 2, at::IntArrayRef{1});
}

void LoraSlot::merge_into(Linear& base) {
  auto weight = updated_weight(base);
  if (magnitude_) weight = weight * (magnitude_->value() / row_lengths(base)).unsqueeze(1);
  if (b_bias_) base.bias.set_value(base.bias.value() + b_bias_->value() * update_.scale);
  base.weight.set_value(weight);
}

at::Tensor LoraSlot::plain_a() const { return at::cat({a_.value(), start_a_.to(a_.value().options())}, 0); }

at::Tensor LoraSlot::plain_b() const { return at::cat({b_.value(), -start_b_.to(b_.value().options())}, 1); }

}  // namespace dtrain::peft
