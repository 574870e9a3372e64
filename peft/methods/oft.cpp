#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include "base/error.h"
#include "model/matmul.h"
#include "peft/methods/kinds.h"
#include "peft/parts/linear_method.h"
#include "peft/parts/rotation.h"

namespace dtrain::peft {
namespace {

using model::Linear;
using model::Parameter;

/// PEFT's OFTConfig.
struct OftConfig {
  /// The number of blocks, or 0 where their size is given.
  std::int64_t r = 0;
  std::int64_t oft_block_size = 32;
  /// Of a linear layer whose inputs that does not divide the nearest divisor is taken, as PEFT always does; else it is
  /// refused.
  bool nearest_divisor = false;
  bool block_share = false;
  bool use_cayley_neumann = true;
  std::int64_t num_cayley_neumann_terms = 5;
  /// Constrained: the norm of a skew-symmetric matrix is held below eps / sqrt(blocks).
  bool coft = false;
  double eps = 6e-5;
  bool init_weights = true;
  Wrapping wrapping;
};

/// The divisor of `size` that is nearest to `wanted`, the lower of two.
std::int64_t find_nearest_divisor(std::int64_t size, std::int64_t wanted) {
  if (wanted >= size) return size;
  std::int64_t above = wanted;
  while (size % above != 0) ++above;
  std::int64_t below = wanted;
  while (size % below != 0) --below;
  return wanted - below <= above - wanted ? below : above;
}

std::int64_t block_size(const OftConfig& config, const Linear& base) {
  const std::int64_t in = base.in_features();
  const std::int64_t given = config.r > 0 ? config.r : config.oft_block_size;
  const std::int64_t divisor = find_nearest_divisor(in, given);
  if (divisor != given && !config.nearest_divisor) {
    throw UsageError(fmt::format("method 'oft': {} {} does not divide the {} inputs of {}; the nearest that does is {}",
                                 config.r > 0 ? "r" : "oft_block_size", given, in, base.path(), divisor));
  }
  return config.r > 0 ? in / divisor : divisor;
}

class OftSlot final : public WeightSlot {
 public:
  OftSlot(const Linear& base, const OftConfig& config, at::Generator& generator)
      : OftSlot(base, config, block_size(config, base), generator) {}

  at::Tensor forward(Linear& base, const at::Tensor& input, model::ForwardContext& context) override {
    // A rotation is near the identity, where bfloat16 has steps of .004.
    const auto rows = input.to(vectors_.value().scalar_type());
    return base.base_forward(multiply_blocks(rows, rotations(context), context), context);
  }

  void merge_into(Linear& base) override {
    const at::NoGradGuard no_grad;
    model::ForwardContext context;
    base.weight.set_value(multiply_blocks(base.weight.value(), rotations(context).transpose(1, 2), context));
  }

  std::vector<Parameter*> parameters() override { return {&vectors_}; }

  /// The vectors of which no matrix is longer than allowed; itself without coft.
  at::Tensor constrained() const {
    if (!config_.coft) return vectors_.value();
    // Of a skew-symmetric matrix: each element of its upper triangle is in it twice.
    const auto length = std::sqrt(2.0) * at::linalg_vector_norm(vectors_.value(), 2, at::IntArrayRef{1}, true);
    const double longest = config_.eps / std::sqrt(static_cast<double>(vectors_.value().size(0)));
    return at::where(length <= longest, vectors_.value(), vectors_.value() * (longest / length));
  }

  void constrain() {
    const at::NoGradGuard no_grad;
    vectors_.value().copy_(constrained());
    vectors_.value_changed();
  }

 private:
  OftSlot(const Linear& base, const OftConfig& config, std::int64_t size, at::Generator& generator)
      : config_(config),
        size_(size),
        vectors_(base.path() + ".oft_R.weight",
                 at::zeros({config.block_share ? 1 : base.in_features() / size, size * (size - 1) / 2})) {
    auto start = vectors_.value();
    if (!config.init_weights) start.normal_(0, 0.1, generator);
    const auto& like = base.weight.value();
    vectors_.set_value(start.to(like.options()));
    const auto triangle = at::triu_indices(size, size, 1, like.options().dtype(at::kLong));
    triangle_ = triangle[0] * size + triangle[1];
    vectors_.set_trainable(true);
  }

  // [blocks, n, n]
  at::Tensor skew_matrices() {
    auto vectors = vectors_.use();
    // What is outside the bound has the gradient of what it is brought to.
    if (config_.coft) vectors = vectors + (constrained() - vectors_.value());
    const auto empty = at::zeros({vectors.size(0), size_ * size_}, vectors.options());
    const auto upper = empty.index_copy(1, triangle_, vectors).view({-1, size_, size_});
    return upper - upper.transpose(1, 2);
  }

  at::Tensor rotations(model::ForwardContext& context) {
    const auto skew = skew_matrices();
    if (!config_.use_cayley_neumann) return cayley(skew);
    const std::int64_t terms = config_.num_cayley_neumann_terms;
    auto sum = at::eye(size_, skew.options()).expand_as(skew);
    if (terms > 1) sum = sum + 2 * skew;
    if (terms > 2) {
      auto power = model::matmul(skew, skew, context);
      sum = sum + 2 * power;
      for (std::int64_t term = 3; term < terms - 1; ++term) {
        power = model::matmul(power, skew, context);
        sum = sum + 2 * power;
      }
      sum = sum + model::matmul(power, skew, context);
    }
    return sum;
  }

  OftConfig config_;
  std::int64_t size_;
  Parameter vectors_;    // [blocks, n (n - 1) / 2]: the upper triangles row by row
  at::Tensor triangle_;  // [n (n - 1) / 2]: where they are in a matrix
};

/// Constrained OFT: brings the matrices back within their bound after each step.
class NormBound final : public TrainingHooks {
 public:
  explicit NormBound(std::vector<OftSlot*> slots) : slots_(std::move(slots)) {}

  at::Tensor loss_term() override { return {}; }
  void after_step(std::int64_t) override {
    for (OftSlot* slot : slots_) slot->constrain();
  }
  std::vector<std::pair<std::string, at::Tensor>> state() const override { return {}; }
  void restore(const std::vector<std::pair<std::string, at::Tensor>>&) override {}

 private:
  std::vector<OftSlot*> slots_;
};

class Oft final : public LinearMethod {
 public:
  explicit Oft(OftConfig config) : LinearMethod("oft", "OFT", config.wrapping), config_(std::move(config)) {}

  std::unique_ptr<TrainingHooks> start_training_hooks(model::Classifier& classifier, std::int64_t) const override {
    if (!config_.coft) return nullptr;
    std::vector<OftSlot*> slots;
    for (Linear* linear : wrapped(classifier)) slots.push_back(&dynamic_cast<OftSlot&>(*linear->slot));
    return std::make_unique<NormBound>(std::move(slots));
  }

 protected:
  void fill(const std::vector<Linear*>& linears, at::Generator& generator) const override {
    for (Linear* linear : linears) linear->slot = std::make_unique<OftSlot>(*linear, config_, generator);
  }

  void describe(nlohmann::json& config, const std::vector<Linear*>&) const override {
    config["r"] = config_.r;
    config["oft_block_size"] = config_.oft_block_size;
    config["block_share"] = config_.block_share;
    config["use_cayley_neumann"] = config_.use_cayley_neumann;
    config["num_cayley_neumann_terms"] = config_.num_cayley_neumann_terms;
    config["coft"] = config_.coft;
    config["eps"] = config_.eps;
    config["module_dropout"] = 0.0;
    config["init_weights"] = config_.init_weights;
    config["fan_in_fan_out"] = false;
  }

 private:
  OftConfig config_;
};

/// PEFT's files keep a number that divides no inputs, and PEFT takes the nearest divisor instead.
void adjust_blocks(const AdapterConfig& config, const std::vector<std::string>& paths, model::Classifier& classifier,
                   MethodSpec& spec) {
  const std::string key = config.value<std::int64_t>("r", 0) > 0 ? "r" : "oft_block_size";
  const auto given = config.value<std::int64_t>(key, 0);
  if (given < 1) return;
  std::set<std::int64_t> divisors;
  for (const Linear* linear : classifier.linears()) {
    if (std::find(paths.begin(), paths.end(), linear->path()) == paths.end()) continue;
    divisors.insert(find_nearest_divisor(linear->in_features(), given));
  }
  if (divisors.size() == 1) {
    spec.settings[key] = std::to_string(*divisors.begin());
  } else {
    spec.settings["nearest_divisor"] = "true";
  }
}

MethodSpec read_oft_config(const AdapterConfig& config, model::Classifier& classifier) {
  MethodSpec spec{"oft", {}};
  if (config.value("oft_block_size", nlohmann::json()).is_null()) {
    config.refuse("oft_block_size", "missing; adapters of PEFT before 0.14 have another format");
  }
  const auto paths = read_peft_wrapping(config, classifier, true, spec);
  read_peft_settings(
      config, {"r", "oft_block_size", "block_share", "use_cayley_neumann", "num_cayley_neumann_terms", "coft", "eps"},
      spec);
  adjust_blocks(config, paths, classifier, spec);
  return spec;
}

std::unique_ptr<Method> make_oft(const MethodSettings& settings) {
  OftConfig config{.r = settings.size("r", 0),
                   .oft_block_size = settings.size("oft_block_size", 0),
                   .nearest_divisor = settings.boolean("nearest_divisor"),
                   .block_share = settings.boolean("block_share"),
                   .use_cayley_neumann = settings.boolean("use_cayley_neumann"),
                   .num_cayley_neumann_terms = settings.size("num_cayley_neumann_terms", 1),
                   .coft = settings.boolean("coft"),
                   .eps = settings.number("eps", 1e-12, 1e6),
                   .init_weights = settings.boolean("init_weights"),
                   .wrapping = read_wrapping(settings, "oft_only")};
  if ((config.r == 0) == (config.oft_block_size == 0)) {
    throw UsageError(
        fmt::format("method 'oft': one of r and oft_block_size must be 0, which the other one decides; found "
                    "r={} and oft_block_size={}",
                    config.r, config.oft_block_size));
  }
  return std::make_unique<Oft>(std::move(config));
}

FileKeys oft_keys() {
  return joined({wrapping_keys(true),
                 heeded_keys({"r", "oft_block_size", "block_share", "use_cayley_neumann", "num_cayley_neumann_terms",
                              "coft", "eps"}),
                 {{"init_weights", KeyUse::no_effect, "the file holds the weights"}},
                 {{"module_dropout", KeyUse::noted, "PEFT does not apply it to a torch.nn.Linear either"}},
                 {{"fan_in_fan_out", KeyUse::noted, "PEFT does so, too, on a torch.nn.Linear"}}});
}

}  // namespace

MethodKind oft_kind() {
  return {.name = "oft",
          .family = "reparametrization",
          .summary = "rotations of the inputs of chosen linear layers train",
          .paper = "Qiu et al., 2023, NeurIPS",
          .learning_rates = {1e-3, 3e-3, 1e-2},
          .settings = with_wrapping(
              {{"r", "0", "number of blocks, a divisor of the input's size; 0: as oft_block_size says"},
               {"oft_block_size", "32", "size of a block, likewise; 0: as r says"},
               {"nearest_divisor", "false", "take the nearest divisor in the place of a number that is none"},
               {"block_share", "false", "all blocks of a linear layer rotate alike"},
               {"use_cayley_neumann", "true", "a few terms of the Neumann series instead of an exact rotation"},
               {"num_cayley_neumann_terms", "5", "how many"},
               {"coft", "false", "rotations stay near the identity, as eps says"},
               {"eps", "6e-5", "of coft: the largest norm of the matrices before Cayley's map, times sqrt(blocks)"},
               {"init_weights", "true", "start from no rotation; false: from a random one"}},
              "oft_only"),
          .make = make_oft,
          .peft_type = "OFT",
          .read_peft = read_oft_config,
          .peft_keys = oft_keys()};
}

}  // namespace dtrain::peft
