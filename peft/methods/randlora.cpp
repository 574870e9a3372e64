#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "model/matmul.h"
#include "peft/methods/kinds.h"
#include "peft/parts/patterns.h"
#include "peft/parts/weight_change.h"

namespace dtrain::peft {
namespace {

using model::Linear;
using model::Parameter;

/// PEFT's RandLoraConfig.
struct RandLoraConfig {
  std::int64_t r = 32;
  std::int64_t projection_prng_key = 0;
  bool save_projection = true;
  /// Random matrices of -1, 0 and 1, of which a third, or 1 / sqrt(n), are not 0.
  bool sparse = false;
  bool very_sparse = false;
  double randlora_dropout = 0;
  double randlora_alpha = 640;
  bool init_weights = true;
  Wrapping wrapping;
};

std::int64_t divided_up(std::int64_t number, std::int64_t by) { return (number + by - 1) / by; }

/// The random matrices that all linear layers share, bit by bit PEFT's.
class RandomBases {
 public:
  RandomBases(const std::vector<Linear*>& linears, const RandLoraConfig& config) {
    std::int64_t in = 0;
    std::int64_t out = 0;
    for (const Linear* linear : linears) {
      in = std::max(in, linear->in_features());
      out = std::max(out, linear->out_features());
    }
    const std::int64_t small = std::min(in, out);
    const std::int64_t bases = divided_up(small, config.r);
    auto generator = at::detail::createCPUGenerator(static_cast<std::uint64_t>(config.projection_prng_key));
    at::Tensor a;
    at::Tensor b;
    if (config.sparse || config.very_sparse) {
      const double sparsity = config.very_sparse ? std::sqrt(static_cast<double>(small)) : 3;
      a = signs(at::rand({config.r, 1, small}, generator), sparsity);
      b = signs(at::rand({std::max(in, out), bases, config.r}, generator), sparsity);
    } else {
      a = uniform({config.r, 1, small}, generator);
      std::vector<at::Tensor> parts;
      for (std::int64_t i = 0; i < bases; ++i) parts.push_back(uniform({std::max(in, out), 1, config.r}, generator));
      b = at::cat(parts, 1);
    }
    const auto options = linears.front()->weight.value().options();
    a_.set_value((a / a.std()).to(options));
    b_.set_value((b / b.std()).to(options));
  }

  Parameter& a() { return a_; }
  Parameter& b() { return b_; }

 private:
  // torch's kaiming_uniform_ with a = sqrt(5) on bfloat16.
  static at::Tensor uniform(std::vector<std::int64_t> sizes, at::Generator& generator) {
    const double bound = 1 / std::sqrt(static_cast<double>(sizes[1] * sizes[2]));
    return at::empty(sizes, at::kBFloat16).uniform_(-bound, bound, generator);
  }

  static at::Tensor signs(const at::Tensor& uniform_numbers, double sparsity) {
    const double edge = 1 / (2 * sparsity);
    return uniform_numbers.gt(1 - edge).to(at::kFloat) - uniform_numbers.lt(edge).to(at::kFloat);
  }

  Parameter a_{"randlora_A", at::Tensor(at::empty({0}))};  // [r, 1, smaller size]
  Parameter b_{"randlora_B", at::Tensor(at::empty({0}))};  // [larger size, bases, r]
};

class RandLoraSlot final : public WeightChangeSlot {
 public:
  /// The first of the slots lists the shared matrices among its parameters.
  RandLoraSlot(const Linear& base, const RandLoraConfig& config, std::shared_ptr<RandomBases> shared, bool is_first,
               at::Generator& generator)
      : WeightChangeSlot({}, config.randlora_dropout),
        scale_(config.randlora_alpha / static_cast<double>(config.r)),
        is_wide_(base.in_features() > base.out_features()),
        large_(std::max(base.in_features(), base.out_features())),
        shared_(std::move(shared)),
        is_first_(is_first),
        lambda_(base.path() + ".randlora_lambda", at::zeros({config.r, bases_of(base, config)})),
        gamma_(base.path() + ".randlora_gamma", at::ones({bases_of(base, config), small_of(base)})) {
    auto lambda = lambda_.value();
    auto gamma = gamma_.value();
    if (config.init_weights) {
      gamma.div_(static_cast<double>(std::max(gamma.size(0), gamma.size(1))));
    } else {
      lambda.normal_(0, 1, generator);
      gamma.div_(static_cast<double>(std::max(base.in_features(), base.out_features())));
    }
    const auto options = base.weight.value().options();
    lambda_.set_value(lambda.to(options));
    gamma_.set_value(gamma.to(options));
    lambda_.set_trainable(true);
    gamma_.set_trainable(true);
  }

  std::vector<Parameter*> parameters() override {
    std::vector<Parameter*> all = {&lambda_, &gamma_};
    if (is_first_) all.insert(all.end(), {&shared_->a(), &shared_->b()});
    return all;
  }

  RandomBases& shared() { return *shared_; }

 protected:
  at::Tensor change(model::ForwardContext& context) override {
    const std::int64_t bases = gamma_.value().size(0);
    const std::int64_t small = gamma_.value().size(1);
    const auto a = shared_->a().value().slice(2, 0, small);
    const auto scaled = (lambda_.use().unsqueeze(2) * a * gamma_.use().unsqueeze(0)).reshape({-1, small});
    const auto& b = shared_->b().value();
    // PEFT joins the two by other orders of their rows and columns; both are random.
    const auto factor = b.slice(0, 0, large_).slice(1, 0, bases).reshape({large_, -1});
    const auto change = model::matmul(factor, scaled, context) * scale_;
    return is_wide_ ? change.t() : change;
  }

 private:
  static std::int64_t small_of(const Linear& base) { return std::min(base.in_features(), base.out_features()); }
  static std::int64_t bases_of(const Linear& base, const RandLoraConfig& config) {
    return divided_up(small_of(base), config.r);
  }

  double scale_;
  bool is_wide_;
  std::int64_t large_;
  std::shared_ptr<RandomBases> shared_;
  bool is_first_;
  Parameter lambda_;  // [r, bases]
  Parameter gamma_;   // [bases, smaller size]
};

class RandLora final : public LinearMethod {
 public:
  explicit RandLora(RandLoraConfig config)
      : LinearMethod("randlora", "RANDLORA", config.wrapping), config_(std::move(config)) {}

  NamedParameters file_parameters(model::Classifier& classifier) const override {
    auto named = peft_parameters(classifier);
    if (!config_.save_projection) return named;
    const auto linears = wrapped(classifier);
    auto& shared = dynamic_cast<RandLoraSlot&>(*linears.front()->slot).shared();
    std::vector<std::string> owners = {"base_model."};
    // PEFT saves a copy with every linear layer, and warns where one is missing.
    for (const Linear* linear : linears) owners.push_back("base_model.model." + linear->path() + ".");
    for (const std::string& owner : owners) {
      named.emplace_back(owner + shared.a().name(), &shared.a());
      named.emplace_back(owner + shared.b().name(), &shared.b());
    }
    return named;
  }

 protected:
  void fill(const std::vector<Linear*>& linears, at::Generator& generator) const override {
    const auto shared = std::make_shared<RandomBases>(linears, config_);
    for (Linear* linear : linears) {
      linear->slot = std::make_unique<RandLoraSlot>(*linear, config_, shared, linear == linears.front(), generator);
    }
  }

  void describe(nlohmann::json& config, const std::vector<Linear*>&) const override {
    config["r"] = config_.r;
    config["projection_prng_key"] = config_.projection_prng_key;
    config["save_projection"] = config_.save_projection;
    config["sparse"] = config_.sparse;
    config["very_sparse"] = config_.very_sparse;
    config["randlora_dropout"] = config_.randlora_dropout;
    config["randlora_alpha"] = json_number(config_.randlora_alpha);
    config["init_weights"] = config_.init_weights;
    config["fan_in_fan_out"] = false;
  }

 private:
  RandLoraConfig config_;
};

MethodSpec read_randlora_config(const AdapterConfig& config, model::Classifier& classifier) {
  MethodSpec spec{"randlora", {}};
  read_peft_wrapping(config, classifier, true, spec);
  read_peft_settings(
      config,
      {"r", "projection_prng_key", "save_projection", "sparse", "very_sparse", "randlora_dropout", "randlora_alpha"},
      spec);
  return spec;
}

FileKeys randlora_keys() {
  return joined({wrapping_keys(true),
                 heeded_keys({"r", "projection_prng_key", "save_projection", "sparse", "very_sparse",
                              "randlora_dropout", "randlora_alpha"}),
                 {{"init_weights", KeyUse::no_effect, "the file holds the weights"}},
                 {{"fan_in_fan_out", KeyUse::noted, "PEFT does so, too, on a torch.nn.Linear"}}});
}

}  // namespace

MethodKind randlora_kind() {
  return {.name = "randlora",
          .family = "reparametrization",
          .summary = "scales of frozen random updates that together have full rank train",
          .paper = "Albert et al., 2025, ICLR",
          .learning_rates = {5e-4, 1.5e-3, 5e-3},
          .settings = with_wrapping(
              {{"r", "32", "rank of one random update; the smaller, the more of them"},
               {"randlora_alpha", "640", "the change is scaled by randlora_alpha / r"},
               {"randlora_dropout", "0", "dropout on the change's input"},
               {"projection_prng_key", "0", "seed of the random matrices"},
               {"save_projection", "true", "the adapter holds them; false: they are drawn again when it is loaded"},
               {"sparse", "false", "random matrices of -1, 0 and 1, two thirds of them 0"},
               {"very_sparse", "false", "the same with more of them 0"},
               {"init_weights", "true", "start from no change; false: from a random one"}},
              "randlora_only"),
          .make = [](const MethodSettings& settings) -> std::unique_ptr<Method> {
            return std::make_unique<RandLora>(
                RandLoraConfig{.r = settings.size("r", 1),
                               .projection_prng_key = settings.integer("projection_prng_key", 0),
                               .save_projection = settings.boolean("save_projection"),
                               .sparse = settings.boolean("sparse"),
                               .very_sparse = settings.boolean("very_sparse"),
                               .randlora_dropout = settings.number("randlora_dropout", 0, 0.999),
                               .randlora_alpha = settings.number("randlora_alpha", 0, 1e6),
                               .init_weights = settings.boolean("init_weights"),
                               .wrapping = read_wrapping(settings, "randlora_only")});
          },
          .peft_type = "RANDLORA",
          .read_peft = read_randlora_config,
          .peft_keys = randlora_keys()};
}

}  // namespace dtrain::peft
