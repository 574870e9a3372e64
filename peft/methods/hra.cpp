#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <memory>
#include <utility>

#include "base/error.h"
#include "model/matmul.h"
#include "peft/methods/kinds.h"
#include "peft/parts/linear_method.h"

namespace dtrain::peft {
namespace {

using model::Linear;
using model::Parameter;

/// PEFT's HRAConfig.
struct HraConfig {
  std::int64_t r = 8;
  bool apply_gs = false;
  bool init_weights = true;
  Wrapping wrapping;
};

class HraSlot final : public WeightSlot {
 public:
  HraSlot(const Linear& base, const HraConfig& config, at::Generator& generator)
      : apply_gs_(config.apply_gs), vectors_(base.path() + ".hra_u", start(base, config, generator)) {
    vectors_.set_trainable(true);
  }

  at::Tensor forward(Linear& base, const at::Tensor& input, model::ForwardContext& context) override {
    // Like a rotation, it is near the identity, where bfloat16 has steps of .004.
    const auto rows = input.to(vectors_.value().scalar_type());
    const auto [u, factor] = reflections(context);
    const auto low = model::matmul(rows, model::matmul(u, factor.t(), context), context);
    return base.base_forward(rows - model::matmul(low, u.t(), context), context);
  }

  void merge_into(Linear& base) override {
    const at::NoGradGuard no_grad;
    model::ForwardContext context;
    const auto [u, factor] = reflections(context);
    const auto& weight = base.weight.value();
    base.weight.set_value(weight - at::mm(at::mm(weight, at::mm(u, factor)), u.t()));
  }

  std::vector<Parameter*> parameters() override { return {&vectors_}; }

 private:
  static at::Tensor start(const Linear& base, const HraConfig& config, at::Generator& generator) {
    const std::int64_t in = base.in_features();
    const auto& like = base.weight.value();
    // Equal vectors cannot be made orthogonal: PEFT, which starts from them, divides by nothing there.
    const bool pairs = config.init_weights && config.r % 2 == 0 && !config.apply_gs;
    if (!pairs) return draw_uniform(in, config.r, like, generator);
    return draw_uniform(in, config.r / 2, like, generator).repeat_interleave(2, 1);
  }

  // U [in, r] and T [r, r] of the product H_1 ... H_r = I - U T U' (the compact WY form, Schreiber and Van Loan, 1989):
  // the inverse of T is the upper triangle of U' U with half of its diagonal.
  std::pair<at::Tensor, at::Tensor> reflections(model::ForwardContext& context) {
    auto u = vectors_.use();
    const auto identity = at::eye(u.size(1), u.options());
    // The product of reflections along orthogonal vectors is the same for every such basis that spans the first i
    // vectors with its first i, up to signs.
    if (apply_gs_) return {std::get<0>(at::linalg_qr(u)), 2 * identity};
    u = u / at::linalg_vector_norm(u, 2, at::IntArrayRef{0});
    const auto inverse = at::triu(model::matmul(u.t(), u, context), 1) + identity / 2;
    return {u, at::linalg_solve_triangular(inverse, identity, /*upper=*/true)};
  }

  bool apply_gs_;
  Parameter vectors_;  // [in, r]
};

class Hra final : public LinearMethod {
 public:
  explicit Hra(HraConfig config) : LinearMethod("hra", "HRA", config.wrapping), config_(std::move(config)) {}

 protected:
  void fill(const std::vector<Linear*>& linears, at::Generator& generator) const override {
    for (Linear* linear : linears) {
      if (config_.apply_gs && config_.r > linear->in_features()) {
        throw UsageError(fmt::format("method 'hra': apply_GS needs r of at most the {} inputs of {}, found {}",
                                     linear->in_features(), linear->path(), config_.r));
      }
      linear->slot = std::make_unique<HraSlot>(*linear, config_, generator);
    }
  }

  void describe(nlohmann::json& config, const std::vector<Linear*>&) const override {
    config["r"] = config_.r;
    config["apply_GS"] = config_.apply_gs;
    config["init_weights"] = config_.init_weights;
  }

 private:
  HraConfig config_;
};

MethodSpec read_hra_config(const AdapterConfig& config, model::Classifier& classifier) {
  MethodSpec spec{"hra", {}};
  read_peft_wrapping(config, classifier, true, spec);
  read_peft_settings(config, {"r", "apply_GS"}, spec);
  return spec;
}

FileKeys hra_keys() {
  return joined({wrapping_keys(true),
                 heeded_keys({"r", "apply_GS"}),
                 {{"init_weights", KeyUse::no_effect, "the file holds the weights"}}});
}

}  // namespace

MethodKind hra_kind() {
  return {.name = "hra",
          .family = "reparametrization",
          .summary = "reflections of the inputs of chosen linear layers train",
          .paper = "Yuan et al., 2024, NeurIPS",
          .learning_rates = {3e-3, 1e-2, 3e-2},
          .settings = with_wrapping(
              {{"r", "8", "how many reflections of each linear layer; even, to start from no change"},
               {"apply_GS", "false", "make their vectors orthogonal"},
               {"init_weights", "true", "start from no change, without apply_GS; false: from random vectors"}},
              "hra_only"),
          .make = [](const MethodSettings& settings) -> std::unique_ptr<Method> {
            return std::make_unique<Hra>(HraConfig{.r = settings.size("r", 1),
                                                   .apply_gs = settings.boolean("apply_GS"),
                                                   .init_weights = settings.boolean("init_weights"),
                                                   .wrapping = read_wrapping(settings, "hra_only")});
          },
          .peft_type = "HRA",
          .read_peft = read_hra_config,
          .peft_keys = hra_keys()};
}

}  // namespace dtrain::peft
