#include "peft/parts/adapter_projection.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "base/error.h"
#include "model/linear.h"
#include "model/matmul.h"

namespace dtrain::peft {
namespace {

class PlainMap final : public AdapterProjection {
 public:
  PlainMap(const std::string& path, const at::Tensor& weight, const at::Tensor& like)
      : weight_(path + ".weight", weight.to(like.options())),
        bias_(path + ".bias", at::zeros({weight.size(0)}, like.options())) {
    weight_.set_trainable(true);
    bias_.set_trainable(true);
  }

  at::Tensor forward(const at::Tensor& input, model::ForwardContext& context, double scale,
                     const at::Tensor& addend) override {
    if (scale == 1) return model::linear(input, weight_, &bias_, context, 1, addend);
    const auto scaled_bias = bias_.use() * scale;
    const auto shifted = addend.defined() ? addend + scaled_bias.to(addend.scalar_type())
                                          : scaled_bias.to(as_matmul(context.matmul_type)).expand({input.size(0), -1});
    return model::linear(input, weight_, nullptr, context, scale, shifted);
  }

  std::vector<model::Parameter*> parameters() override { return {&weight_, &bias_}; }

 private:
  at::ScalarType as_matmul(at::ScalarType matmul_type) const {
    return matmul_type == at::kBFloat16 ? matmul_type : weight_.value().scalar_type();
  }

  model::Parameter weight_;  // [out, in]
  model::Parameter bias_;    // [out]
};

// torch.nn.init.xavier_normal_ of each [rows, columns] of [count, rows, columns]. adapter-hub draws so whatever
// hypercomplex_nonlinearity says.
at::Tensor draw_blocks(std::int64_t count, std::int64_t rows, std::int64_t columns, at::Generator& generator) {
  return at::empty({count, rows, columns}).normal_(0, std::sqrt(2 / static_cast<double>(rows + columns)), generator);
}

class PhmMap final : public AdapterProjection {
 public:
  PhmMap(const std::string& path, const PhmConfig& config, std::shared_ptr<PhmRule> rule, std::int64_t in,
         std::int64_t out, const at::Tensor& like, at::Generator& generator)
      : in_(in), out_(out), rule_(std::move(rule)) {
    const std::int64_t n = config.phm_dim;
    const auto add = [&](const char* name, const at::Tensor& value) {
      own_.push_back(std::make_unique<model::Parameter>(path + "." + name, value.to(like.options())));
      own_.back()->set_trainable(true);
    };
    if (config.factorized_phm_W) {
      add("W_left", draw_blocks(n, in / n, config.phm_rank, generator));
      add("W_right", draw_blocks(n, config.phm_rank, out / n, generator));
    } else {
      add("W", draw_blocks(n, in / n, out / n, generator));
    }
    blocks_ = own_.size();
    if (config.phm_bias) add("b", at::zeros({out}));
    if (rule_ == nullptr) {
      rule_ = std::make_shared<PhmRule>(path, config, 0.01, like, generator);
      has_own_rule_ = true;
    }
  }

  at::Tensor forward(const at::Tensor& input, model::ForwardContext& context, double scale,
                     const at::Tensor& addend) override {
    const auto rule = rule_->matrices(context);
    const auto blocks = blocks_ == 2 ? model::matmul(own_[0]->use(), own_[1]->use(), context) : own_[0]->use();
    const std::int64_t n = rule.size(0);
    // kron(rule_i, blocks_i) summed over i is one matmul.
    const auto matrix = model::matmul(rule.reshape({n, n * n}).t(), blocks.reshape({n, -1}), context)
                            .view({n, n, in_ / n, out_ / n})
                            .permute({0, 2, 1, 3})
                            .reshape({in_, out_});
    auto output = model::matmul(input, matrix.to(input.scalar_type()), context);
    if (own_.size() > blocks_) output = output + own_.back()->use().to(input.scalar_type());
    if (scale != 1) output = output * scale;
    return addend.defined() ? output + addend : output;
  }

  std::vector<model::Parameter*> parameters() override {
    std::vector<model::Parameter*> all;
    if (has_own_rule_) all = rule_->parameters();
    for (const auto& parameter : own_) all.push_back(parameter.get());
    return all;
  }

 private:
  std::int64_t in_;
  std::int64_t out_;
  std::shared_ptr<PhmRule> rule_;
  bool has_own_rule_ = false;
  std::vector<std::unique_ptr<model::Parameter>> own_;  // W or its factors, then b
  std::size_t blocks_ = 0;
};

}  // namespace

at::Tensor draw_adapter_weight(const std::string& init_weights, bool up, std::int64_t in, std::int64_t out,
                               at::Generator& generator) {
  auto weight = at::empty({out, in});
  if (init_weights == "mam_adapter") {
    if (up) return weight.zero_();
    const double bound = 1 / std::sqrt(static_cast<double>(in));
    return weight.uniform_(-bound, bound, generator);
  }
  if (init_weights == "houlsby") {
    // Normal with deviation .01, cut at two deviations, by the inverse of its distribution.
    const double bound = std::erf(std::numbers::sqrt2);
    return weight.uniform_(-bound, bound, generator).erfinv_().mul_(0.01 * std::numbers::sqrt2).clamp_(-0.02, 0.02);
  }
  return weight.normal_(0, 0.02, generator);
}

std::unique_ptr<AdapterProjection> make_linear_projection(const std::string& path, const at::Tensor& weight,
                                                          const at::Tensor& like) {
  return std::make_unique<PlainMap>(path, weight, like);
}

PhmRule::PhmRule(const std::string& path, const PhmConfig& config, double deviation, const at::Tensor& like,
                 at::Generator& generator) {
  const std::int64_t n = config.phm_dim;
  const auto add = [&](const char* name, at::IntArrayRef shape) {
    factors_.push_back(std::make_unique<model::Parameter>(
        path + "." + name, at::empty(shape).normal_(0, deviation, generator).to(like.options())));
    factors_.back()->set_trainable(true);
  };
  if (config.factorized_phm_rule) {
    add("phm_rule_left", {n, n, 1});
    add("phm_rule_right", {n, 1, n});
  } else {
    add("phm_rule", {n, n, n});
  }
}

at::Tensor PhmRule::matrices(model::ForwardContext& context) {
  return factors_.size() == 2 ? model::matmul(factors_[0]->use(), factors_[1]->use(), context) : factors_[0]->use();
}

std::vector<model::Parameter*> PhmRule::parameters() {
  std::vector<model::Parameter*> all;
  for (const auto& factor : factors_) all.push_back(factor.get());
  return all;
}

std::unique_ptr<AdapterProjection> make_phm_projection(const std::string& path, const PhmConfig& config,
                                                       std::shared_ptr<PhmRule> rule, std::int64_t in, std::int64_t out,
                                                       const at::Tensor& like, at::Generator& generator) {
  if (in % config.phm_dim != 0 || out % config.phm_dim != 0) {
    throw UsageError(
        fmt::format("a hypercomplex linear layer from {} to {} needs a phm_dim that divides both, found {}; another "
                    "reduction_factor gives another bottleneck",
                    in, out, config.phm_dim));
  }
  return std::make_unique<PhmMap>(path, config, std::move(rule), in, out, like, generator);
}

}  // namespace dtrain::peft
