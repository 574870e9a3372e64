#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "model/matmul.h"
#include "peft/methods/kinds.h"
#include "peft/parts/patterns.h"
#include "peft/parts/weight_change.h"

namespace dtrain::peft {
namespace {

using model::Linear;
using model::Parameter;

/// PEFT's LoKrConfig.
struct LokrConfig {
  Ranks ranks;
  bool decompose_both = false;
  std::int64_t decompose_factor = -1;
  /// "true": W1 is zero at first; "lycoris": W2 is; "false": none is.
  std::string init_weights = "true";
  ChangeDropout dropout;
  Wrapping wrapping;
};

/// Two factors of `size`, the first the smaller: the first is `factor` where that divides, else the largest divisor up
/// to `factor` (-1: any) with which the two are not yet in the wrong order.
std::pair<std::int64_t, std::int64_t> factorized(std::int64_t size, std::int64_t factor) {
  if (factor > 0 && size % factor == 0) return {factor, size / factor};
  const std::int64_t limit = factor == -1 ? size : factor;
  std::int64_t small = 1;
  std::int64_t large = size;
  while (small < large) {
    std::int64_t next = small + 1;
    while (size % next != 0) ++next;
    if (next > limit) break;
    small = next;
    large = size / next;
  }
  return {std::min(small, large), std::max(small, large)};
}

/// A matrix, or the product of two of low rank.
class KroneckerFactor {
 public:
  KroneckerFactor(const std::string& name, std::int64_t rows, std::int64_t columns, std::optional<std::int64_t> rank,
                  const at::Tensor& like, at::Generator& generator)
      : first_(name + (rank ? "_a" : ""), draw_uniform(rows, rank.value_or(columns), like, generator)) {
    if (rank) second_.emplace(name + "_b", draw_uniform(*rank, columns, like, generator));
  }

  at::Tensor matrix(model::ForwardContext& context) {
    return second_ ? model::matmul(first_.use(), second_->use(), context) : first_.use();
  }
  void clear_first() { first_.set_value(at::zeros_like(first_.value())); }
  void clear_last() {
    Parameter& last = second_ ? *second_ : first_;
    last.set_value(at::zeros_like(last.value()));
  }
  std::vector<Parameter*> parameters() {
    return second_ ? std::vector<Parameter*>{&first_, &*second_} : std::vector<Parameter*>{&first_};
  }

 private:
  Parameter first_;
  std::optional<Parameter> second_;
};

class LokrSlot final : public WeightSlot {
 public:
  LokrSlot(const Linear& base, const LokrConfig& config, at::Generator& generator)
      : LokrSlot(base, config, config.ranks.rank_of(base.path()),
                 factorized(base.out_features(), config.decompose_factor),
                 factorized(base.in_features(), config.decompose_factor), generator) {}

  /// Without the product of the two matrices: the input, as a matrix for each token, is multiplied from both sides.
  at::Tensor forward(Linear& base, const at::Tensor& input, model::ForwardContext& context) override {
    const auto output = base.base_forward(input, context);
    const auto left = w1_.matrix(context) * scale_;
    const auto right = w2_.matrix(context);
    const std::int64_t tokens = input.size(0);
    const auto rows = input.to(right.scalar_type()).reshape({tokens * left.size(1), right.size(1)});
    const auto half = model::matmul(rows, right.t(), context).view({tokens, left.size(1), right.size(0)});
    auto change = model::matmul(left, half, context).reshape({tokens, base.out_features()});
    const auto kept = dropout_.next(context, base.out_features(), right);
    if (kept.defined()) change = change * kept;
    return output + change.to(output.scalar_type());
  }

  void merge_into(Linear& base) override {
    const at::NoGradGuard no_grad;
    model::ForwardContext context;
    base.weight.set_value(base.weight.value() + at::kron(w1_.matrix(context) * scale_, w2_.matrix(context)));
  }

  std::vector<Parameter*> parameters() override {
    auto all = w1_.parameters();
    for (Parameter* parameter : w2_.parameters()) all.push_back(parameter);
    return all;
  }

 private:
  using Sizes = std::pair<std::int64_t, std::int64_t>;

  LokrSlot(const Linear& base, const LokrConfig& config, std::int64_t r, const Sizes& out, const Sizes& in,
           at::Generator& generator)
      : dropout_(config.dropout),
        scale_(config.ranks.alpha_of(base.path()) / static_cast<double>(r)),
        w1_(base.path() + ".lokr_w1", out.first, in.first,
            config.decompose_both ? low_rank(r, out.first, in.first) : std::nullopt, base.weight.value(), generator),
        w2_(base.path() + ".lokr_w2", out.second, in.second, low_rank(r, out.second, in.second), base.weight.value(),
            generator) {
    if (config.init_weights == "true") w1_.clear_first();
    if (config.init_weights == "lycoris") w2_.clear_last();
    for (Parameter* parameter : parameters()) parameter->set_trainable(true);
  }

  // Unset where the product of two would be no smaller.
  static std::optional<std::int64_t> low_rank(std::int64_t r, std::int64_t rows, std::int64_t columns) {
    return 2 * r < std::max(rows, columns) ? std::optional(r) : std::nullopt;
  }

  ChangeDropout dropout_;
  double scale_;
  KroneckerFactor w1_;  // [out 1, in 1]
  KroneckerFactor w2_;  // [out 2, in 2]
};

class Lokr final : public LinearMethod {
 public:
  explicit Lokr(LokrConfig config) : LinearMethod("lokr", "LOKR", config.wrapping), config_(std::move(config)) {}

 protected:
  void fill(const std::vector<Linear*>& linears, at::Generator& generator) const override {
    config_.ranks.check(paths_of(linears), name());
    for (Linear* linear : linears) linear->slot = std::make_unique<LokrSlot>(*linear, config_, generator);
  }

  void describe(nlohmann::json& config, const std::vector<Linear*>& linears) const override {
    write_peft_ranks(config, "alpha", config_.ranks, paths_of(linears));
    write_change_dropout(config, config_.dropout);
    config["rank_dropout_scale"] = config_.dropout.rescales;
    config["decompose_both"] = config_.decompose_both;
    config["decompose_factor"] = config_.decompose_factor;
    config["init_weights"] =
        config_.init_weights == "lycoris" ? nlohmann::json("lycoris") : nlohmann::json(config_.init_weights == "true");
  }

 private:
  LokrConfig config_;
};

MethodSpec read_lokr_config(const AdapterConfig& config, model::Classifier& classifier) {
  MethodSpec spec{"lokr", {}};
  read_peft_ranks(config, "alpha", read_peft_wrapping(config, classifier, false, spec), spec);
  read_peft_settings(
      config, {"rank_dropout", "module_dropout", "rank_dropout_scale", "decompose_both", "decompose_factor"}, spec);
  return spec;
}

std::unique_ptr<Method> make_lokr(const MethodSettings& settings) {
  // Beyond half a factor's size a rank means the whole factor, and some write a very large one to ask for that.
  LokrConfig config{.ranks = read_ranks(settings, "alpha", kLargestSize),
                    .decompose_both = settings.boolean("decompose_both"),
                    .decompose_factor = settings.integer("decompose_factor", -1),
                    .init_weights = settings.choice("init_weights", {"true", "false", "lycoris"}),
                    .dropout = read_change_dropout(settings),
                    .wrapping = read_wrapping(settings, "")};
  config.dropout.rescales = settings.boolean("rank_dropout_scale");
  return std::make_unique<Lokr>(std::move(config));
}

FileKeys lokr_keys() {
  return joined(
      {wrapping_keys(false),
       rank_keys("alpha"),
       heeded_keys({"rank_dropout", "module_dropout", "rank_dropout_scale", "decompose_both", "decompose_factor"}),
       {{"init_weights", KeyUse::no_effect, "the file holds the weights"}},
       {{"use_effective_conv2d", KeyUse::noted, "the model has no convolutions"}}});
}

}  // namespace

MethodKind lokr_kind() {
  return {.name = "lokr",
          .family = "reparametrization",
          .summary = "updates that are Kronecker products train",
          .paper = "Yeh et al., 2024, ICLR",
          .learning_rates = {2e-3, 6e-3, 2e-2},
          .settings = with_wrapping(
              with_ranks(with_change_dropout(
                             {{"decompose_both", "false", "the smaller matrix may be a product of low rank, too"},
                              {"decompose_factor", "-1", "the size of the smaller matrix; -1: as even as it goes"},
                              {"rank_dropout_scale", "false", "what rank_dropout leaves makes up for the rest"},
                              {"init_weights", "true",
                               "true: the first matrix is zero at first; lycoris: the second; "
                               "false: none"}}),
                         "alpha"),
              ""),
          .make = make_lokr,
          .peft_type = "LOKR",
          .read_peft = read_lokr_config,
          .peft_keys = lokr_keys()};
}

}  // namespace dtrain::peft
