#include "peft/parts/bottleneck_slot.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/dropout.h"
#include "model/norm.h"
#include "peft/parts/gate.h"

namespace dtrain::peft {
namespace {

constexpr double kOwnNormEpsilon = 1e-5;

at::Tensor activated(const std::string& name, const at::Tensor& input) {
  if (name == "relu") return at::relu(input);
  if (name == "leakyrelu") return at::leaky_relu(input);
  if (name == "gelu") return at::gelu(input);
  if (name == "gelu_new") return at::gelu(input, "tanh");
  if (name == "swish" || name == "silu") return at::silu(input);
  if (name == "sigmoid") return at::sigmoid(input);
  return at::tanh(input);
}

constexpr int kWidestBottleneck = 8;

// Python's hidden // reduction_factor for floats.
std::int64_t bottleneck_size(std::int64_t hidden, double reduction_factor) {
  const auto size = static_cast<double>(hidden);
  const double quotient = std::round((size - std::fmod(size, reduction_factor)) / reduction_factor);
  if (quotient > kWidestBottleneck * size) {
    throw UsageError(fmt::format("reduction_factor is {}: expected a bottleneck of at most {} times the hidden size",
                                 reduction_factor, kWidestBottleneck));
  }
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(quotient));
}

class BottleneckSlot final : public model::SublayerSlot {
 public:
  BottleneckSlot(const std::string& path, const BottleneckConfig& config, std::int64_t layer, const at::Tensor& like,
                 const std::shared_ptr<PhmRule>& rule, bool lists_rule, at::Generator& generator)
      : config_(config), listed_rule_(lists_rule ? rule : nullptr) {
    const std::int64_t hidden = like.size(0);
    const auto factor = config.reduction_factor_by_layer.find(layer);
    const std::int64_t size = bottleneck_size(
        hidden, factor != config.reduction_factor_by_layer.end() ? factor->second : config.reduction_factor);
    const auto make_norm = [&](const std::string& norm_path) {
      auto norm = std::make_unique<model::LayerNorm>(norm_path, hidden, kOwnNormEpsilon);
      norm->weight.set_value(at::ones({hidden}, like.options()));
      norm->bias.set_value(at::zeros({hidden}, like.options()));
      norm->weight.set_trainable(true);
      norm->bias.set_trainable(true);
      return norm;
    };
    const auto make_map = [&](const std::string& map_path, bool up) {
      const std::int64_t in = up ? size : hidden;
      const std::int64_t out = up ? hidden : size;
      if (config.phm) return make_phm_projection(map_path, *config.phm, rule, in, out, like, generator);
      return make_linear_projection(map_path, draw_adapter_weight(config.init_weights, up, in, out, generator), like);
    };
    // torch.nn.Sequential numbers what is in it.
    if (config.ln_before) norm_before_ = make_norm(path + ".adapter_down.0");
    down_ = make_map(path + (config.ln_before ? ".adapter_down.1" : ".adapter_down.0"), false);
    up_ = make_map(path + ".adapter_up", true);
    if (config.ln_after) norm_after_ = make_norm(path + ".adapter_norm_after");
    if (config.scaling == "learned" || config.scaling == "channel") {
      const std::int64_t count = config.scaling == "channel" ? hidden : 1;
      learned_scaling_ = std::make_unique<model::Parameter>(path + ".scaling", at::ones({count}, like.options()));
      learned_scaling_->set_trainable(true);
    } else {
      scaling_ = std::stod(config.scaling);
    }
    if (config.use_gating) gate_ = std::make_unique<Gate>(path + ".gate", hidden, 1, 0, like, generator);
  }

  at::Tensor forward(const model::SublayerResult& result, model::LayerNorm& norm,
                     model::ForwardContext& context) override {
    const auto own_dropout = context.next_dropout(config_.dropout);
    const auto output = model::dropout(result.output, result.dropout);
    const auto finished = [&](const at::Tensor& sum) {
      return config_.original_ln_after ? norm.forward(sum, result.input, {}) : sum.to(result.input.scalar_type());
    };
    if (config_.is_parallel) return finished(adapted(result.input, output, result.batch, own_dropout, context));
    auto input = output;
    auto residual = output;
    if (config_.original_ln_before) {
      input = norm.forward(output, result.input, {});
      if (config_.residual_before_ln == "post_add") residual = output + result.input;
    }
    if (config_.residual_before_ln == "false") residual = input;
    return finished(adapted(input, residual, result.batch, own_dropout, context));
  }

  std::vector<model::Parameter*> parameters() override {
    std::vector<model::Parameter*> all;
    const auto add = [&](const std::vector<model::Parameter*>& more) {
      all.insert(all.end(), more.begin(), more.end());
    };
    if (listed_rule_) add(listed_rule_->parameters());
    if (norm_before_) add({&norm_before_->weight, &norm_before_->bias});
    add(down_->parameters());
    add(up_->parameters());
    if (norm_after_) add({&norm_after_->weight, &norm_after_->bias});
    if (learned_scaling_) add({learned_scaling_.get()});
    if (gate_) add(gate_->parameters());
    return all;
  }

 private:
  // What the bottleneck makes of `input`, and `residual`.
  at::Tensor adapted(const at::Tensor& input, const at::Tensor& residual, const model::TokenBatch& batch,
                     const model::kernels::Dropout& own_dropout, model::ForwardContext& context) {
    const auto normalized = norm_before_ ? norm_before_->forward(input, {}, {}) : input;
    const auto low = activated(config_.non_linearity, down_->forward(normalized, context));
    // The matmul itself can add what comes after it.
    if (!learned_scaling_ && !gate_ && !norm_after_ && own_dropout.probability == 0) {
      return up_->forward(low, context, scaling_, residual.to(low.scalar_type()));
    }
    auto up = up_->forward(low, context, scaling_);
    if (learned_scaling_) up = up * learned_scaling_->use();
    up = model::dropout(up, own_dropout);
    if (gate_) up = up * gate_->of_tokens(input, batch, context);
    if (config_.adapter_residual_before_ln) up = up + residual;
    if (norm_after_) up = norm_after_->forward(up, {}, {});
    return config_.adapter_residual_before_ln ? up : up + residual;
  }

  BottleneckConfig config_;
  std::shared_ptr<PhmRule> listed_rule_;
  std::unique_ptr<model::LayerNorm> norm_before_;
  std::unique_ptr<AdapterProjection> down_;
  std::unique_ptr<AdapterProjection> up_;
  std::unique_ptr<model::LayerNorm> norm_after_;
  double scaling_ = 1;
  std::unique_ptr<model::Parameter> learned_scaling_;
  std::unique_ptr<Gate> gate_;
};

}  // namespace

const std::vector<std::string>& adapter_activations() {
  static const std::vector<std::string> names = {"relu",  "leakyrelu", "gelu", "gelu_new",
                                                 "swish", "silu",      "tanh", "sigmoid"};
  return names;
}

std::unique_ptr<model::SublayerSlot> make_bottleneck_slot(const std::string& path, const BottleneckConfig& config,
                                                          std::int64_t layer, const at::Tensor& like,
                                                          const std::shared_ptr<PhmRule>& rule, bool lists_rule,
                                                          at::Generator& generator) {
  return std::make_unique<BottleneckSlot>(path, config, layer, like, rule, lists_rule, generator);
}

}  // namespace dtrain::peft
