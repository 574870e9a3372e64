#include "peft/parts/weight_change.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include "model/dropout.h"

namespace dtrain::peft {

at::Generator generator_at(const model::kernels::Dropout& place) {
  return at::detail::createCPUGenerator(place.key + 0x9E3779B97F4A7C15ULL * (place.site + 1ULL));
}

at::Tensor ChangeDropout::next(model::ForwardContext& context, std::int64_t out, const at::Tensor& like) const {
  const auto rows = context.next_dropout(rank_dropout);
  const auto module = context.next_dropout(module_dropout);
  at::Tensor kept;
  if (rows.probability > 0) {
    auto generator = generator_at(rows);
    kept = at::rand({out}, generator).gt(rows.probability).to(like.options());
    if (rescales) kept.div_(kept.mean());
  }
  if (module.probability > 0) {
    auto generator = generator_at(module);
    const bool there = at::rand({1}, generator).item<double>() > module.probability;
    if (!kept.defined()) kept = at::ones({out}, like.options());
    kept.mul_(there ? 1 : 0);
  }
  return kept;
}

void write_change_dropout(nlohmann::json& config, const ChangeDropout& dropout) {
  config["rank_dropout"] = dropout.rank_dropout;
  config["module_dropout"] = dropout.module_dropout;
}

std::vector<MethodSetting> with_change_dropout(std::vector<MethodSetting> settings) {
  settings.push_back({"rank_dropout", "0", "dropout of rows of the change"});
  settings.push_back({"module_dropout", "0", "how often the change of a linear layer is left out"});
  return settings;
}

ChangeDropout read_change_dropout(const MethodSettings& settings) {
  return {.rank_dropout = settings.number("rank_dropout", 0, 0.999),
          .module_dropout = settings.number("module_dropout", 0, 0.999)};
}

at::Tensor WeightChangeSlot::forward(model::Linear& base, const at::Tensor& input, model::ForwardContext& context) {
  const auto& weight = base.weight.value();
  const auto type = context.matmul_type == at::kBFloat16 ? at::kBFloat16 : weight.scalar_type();
  const auto kept = dropout_.next(context, base.out_features(), weight);
  const auto dropout = context.next_dropout(input_dropout_);
  auto changed = change(context);
  if (kept.defined()) changed = changed * kept.unsqueeze(1);
  context.count_matmuls(input, changed.t());
  if (dropout.probability > 0) {
    return base.base_forward(input, context) + at::linear(model::dropout(input, dropout).to(type), changed.to(type));
  }
  const auto bias = base.bias.value().defined() ? base.bias.use().to(type) : at::Tensor();
  return at::linear(input.to(type), (weight + changed).to(type), bias);
}

void WeightChangeSlot::merge_into(model::Linear& base) {
  const at::NoGradGuard no_grad;
  model::ForwardContext context;
  base.weight.set_value(base.weight.value() + change(context));
}

}  // namespace dtrain::peft
