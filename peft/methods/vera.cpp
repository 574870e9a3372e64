#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "model/dropout.h"
#include "peft/methods/kinds.h"
#include "peft/parts/linear_method.h"

namespace dtrain::peft {
namespace {

using model::Linear;
using model::Parameter;

/// PEFT's VeraConfig.
struct VeraConfig {
  std::int64_t r = 256;
  std::int64_t projection_prng_key = 0;
  bool save_projection = true;
  double vera_dropout = 0;
  double d_initial = 0.1;
  bool init_weights = true;
  Wrapping wrapping;
};

// torch's kaiming_uniform_, bit by bit PEFT's on the CPU.
at::Tensor draw_projection(std::int64_t rows, std::int64_t columns, at::Generator& generator) {
  const double bound = std::sqrt(3.0) * (std::sqrt(2.0) / std::sqrt(static_cast<double>(columns)));
  return at::empty({rows, columns}).uniform_(-bound, bound, generator);
}

/// The matrices that all linear layers share, as large as the largest needs. Each takes a part of them.
class Projections {
 public:
  Projections(const std::vector<Linear*>& linears, const VeraConfig& config)
      : Projections(linears, config,
                    at::detail::createCPUGenerator(static_cast<std::uint64_t>(config.projection_prng_key))) {}

  Parameter& whole_a() { return a_; }
  Parameter& whole_b() { return b_; }
  /// [r, in]
  Parameter& a(std::int64_t in) { return part(a_, a_parts_, 1, in); }
  /// [out, r]
  Parameter& b(std::int64_t out) { return part(b_, b_parts_, 0, out); }

 private:
  using Parts = std::map<std::int64_t, std::unique_ptr<Parameter>>;

  Projections(const std::vector<Linear*>& linears, const VeraConfig& config, at::Generator generator)
      : a_("vera_A", draw_projection(config.r, largest(linears, &Linear::in_features), generator)
                         .to(linears.front()->weight.value().options())),
        b_("vera_B", draw_projection(largest(linears, &Linear::out_features), config.r, generator)
                         .to(linears.front()->weight.value().options())) {}

  static std::int64_t largest(const std::vector<Linear*>& linears, std::int64_t (Linear::*size)() const) {
    std::int64_t most = 0;
    for (const Linear* linear : linears) most = std::max(most, (linear->*size)());
    return most;
  }

  static Parameter& part(Parameter& whole, Parts& parts, std::int64_t dimension, std::int64_t size) {
    if (whole.value().size(dimension) == size) return whole;
    auto& kept = parts[size];
    const auto value = whole.value().slice(dimension, 0, size);
    if (!kept) kept = std::make_unique<Parameter>(whole.name(), value);
    // The whole may have been loaded since.
    if (kept->value().data_ptr() != value.data_ptr()) kept->set_value(value);
    return *kept;
  }

  Parameter a_;  // [r, largest in]
  Parameter b_;  // [largest out, r]
  Parts a_parts_;
  Parts b_parts_;
};

class VeraSlot final : public WeightSlot {
 public:
  /// The first of the slots lists the shared matrices among its parameters.
  VeraSlot(const Linear& base, const VeraConfig& config, std::shared_ptr<Projections> shared, bool is_first,
           at::Generator& generator)
      : dropout_(config.vera_dropout),
        shared_(std::move(shared)),
        is_first_(is_first),
        lambda_b_(base.path() + ".vera_lambda_b",
                  at::full({base.out_features()}, config.init_weights ? 0.0 : 1.0, base.weight.value().options())),
        lambda_d_(base.path() + ".vera_lambda_d",
                  (config.init_weights ? at::full({config.r}, config.d_initial) : at::randn({config.r}, generator))
                      .to(base.weight.value().options())) {
    lambda_b_.set_trainable(true);
    lambda_d_.set_trainable(true);
  }

  at::Tensor forward(Linear& base, const at::Tensor& input, model::ForwardContext& context) override {
    const auto output = base.base_forward(input, context);
    const auto dropped = model::dropout(input, context.next_dropout(dropout_));
    const auto low = model::linear(dropped, shared_->a(base.in_features()), nullptr, context) * lambda_d_.use();
    const auto change = model::linear(low, shared_->b(base.out_features()), nullptr, context) * lambda_b_.use();
    return output + change.to(output.scalar_type());
  }

  void merge_into(Linear& base) override {
    const auto& a = shared_->a(base.in_features()).value();
    const auto& b = shared_->b(base.out_features()).value();
    base.weight.set_value(base.weight.value() +
                          at::mm(lambda_b_.value().unsqueeze(1) * b, lambda_d_.value().unsqueeze(1) * a));
  }

  std::vector<Parameter*> parameters() override {
    std::vector<Parameter*> all = {&lambda_b_, &lambda_d_};
    if (is_first_) all.insert(all.end(), {&shared_->whole_a(), &shared_->whole_b()});
    return all;
  }

  Projections& shared() { return *shared_; }

 private:
  double dropout_;
  std::shared_ptr<Projections> shared_;
  bool is_first_;
  Parameter lambda_b_;  // [out]
  Parameter lambda_d_;  // [r]
};

class Vera final : public LinearMethod {
 public:
  explicit Vera(VeraConfig config) : LinearMethod("vera", "VERA", config.wrapping), config_(std::move(config)) {}

  NamedParameters file_parameters(model::Classifier& classifier) const override {
    auto named = peft_parameters(classifier);
    if (config_.save_projection) {
      auto& shared = dynamic_cast<VeraSlot&>(*wrapped(classifier).front()->slot).shared();
      named.emplace_back("base_model.vera_A", &shared.whole_a());
      named.emplace_back("base_model.vera_B", &shared.whole_b());
    }
    return named;
  }

 protected:
  void fill(const std::vector<Linear*>& linears, at::Generator& generator) const override {
    const auto shared = std::make_shared<Projections>(linears, config_);
    for (Linear* linear : linears) {
      linear->slot = std::make_unique<VeraSlot>(*linear, config_, shared, linear == linears.front(), generator);
    }
  }

  void describe(nlohmann::json& config, const std::vector<Linear*>&) const override {
    config["r"] = config_.r;
    config["projection_prng_key"] = config_.projection_prng_key;
    config["save_projection"] = config_.save_projection;
    config["vera_dropout"] = config_.vera_dropout;
    config["d_initial"] = config_.d_initial;
    config["init_weights"] = config_.init_weights;
    config["fan_in_fan_out"] = false;
  }

 private:
  VeraConfig config_;
};

MethodSpec read_vera_config(const AdapterConfig& config, model::Classifier& classifier) {
  MethodSpec spec{"vera", {}};
  read_peft_wrapping(config, classifier, true, spec);
  read_peft_settings(config, {"r", "projection_prng_key", "save_projection", "vera_dropout", "d_initial"}, spec);
  return spec;
}

FileKeys vera_keys() {
  return joined({wrapping_keys(true),
                 heeded_keys({"r", "projection_prng_key", "save_projection", "vera_dropout", "d_initial"}),
                 {{"init_weights", KeyUse::no_effect, "the file holds the weights"}},
                 {{"fan_in_fan_out", KeyUse::noted, "PEFT does so, too, on a torch.nn.Linear"}}});
}

}  // namespace

MethodKind vera_kind() {
  return {.name = "vera",
          .family = "reparametrization",
          .summary = "vectors that scale frozen random updates train",
          .paper = "Kopiczko et al., 2024, ICLR",
          .learning_rates = {3e-3, 1e-2, 3e-2},
          .settings = with_wrapping(
              {{"r", "256", "rank of the random update"},
               {"projection_prng_key", "0", "seed of the random matrices"},
               {"save_projection", "true", "the adapter holds them; false: they are drawn again when it is loaded"},
               {"vera_dropout", "0", "dropout on the update's input"},
               {"d_initial", "0.1", "where the vector between the matrices starts"},
               {"init_weights", "true", "start from no change; false: from a random one"}},
              "vera_only"),
          .make = [](const MethodSettings& settings) -> std::unique_ptr<Method> {
            return std::make_unique<Vera>(VeraConfig{.r = settings.size("r", 1),
                                                     .projection_prng_key = settings.integer("projection_prng_key", 0),
                                                     .save_projection = settings.boolean("save_projection"),
                                                     .vera_dropout = settings.number("vera_dropout", 0, 0.999),
                                                     .d_initial = settings.number("d_initial", -1e6, 1e6),
                                                     .init_weights = settings.boolean("init_weights"),
                                                     .wrapping = read_wrapping(settings, "vera_only")});
          },
          .peft_type = "VERA",
          .read_peft = read_vera_config,
          .peft_keys = vera_keys()};
}

}  // namespace dtrain::peft
