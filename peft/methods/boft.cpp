#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <memory>

#include "base/error.h"
#include "peft/methods/kinds.h"
#include "peft/parts/linear_method.h"
#include "peft/parts/rotation.h"
#include "peft/parts/weight_change.h"

namespace dtrain::peft {
namespace {

using model::Linear;
using model::Parameter;

/// PEFT's BOFTConfig.
struct BoftConfig {
  /// One of the two is 0 and follows from the other.
  std::int64_t boft_block_size = 4;
  std::int64_t boft_block_num = 0;
  /// How many rotations one after the other.
  std::int64_t boft_n_butterfly_factor = 1;
  double boft_dropout = 0;
  bool init_weights = true;
  Wrapping wrapping;
};

/// The blocks of one linear layer.
struct Blocks {
  std::int64_t count = 0;
  std::int64_t size = 0;
};

Blocks blocks_of(const Linear& base, const BoftConfig& config) {
  const std::int64_t in = base.in_features();
  const std::int64_t given = config.boft_block_size > 0 ? config.boft_block_size : config.boft_block_num;
  const auto refuse = [&](const std::string& reason) {
    throw UsageError(fmt::format("method 'boft': {} has {} inputs: {}", base.path(), in, reason));
  };
  if (in % given != 0) {
    refuse(fmt::format("{} {} does not divide them", config.boft_block_size > 0 ? "boft_block_size" : "boft_block_num",
                       given));
  }
  const Blocks blocks = config.boft_block_size > 0 ? Blocks{in / given, given} : Blocks{given, in / given};
  if (config.boft_n_butterfly_factor > 1) {
    const std::int64_t mixed = std::int64_t{1} << (config.boft_n_butterfly_factor - 1);
    if (blocks.size % 2 != 0 || blocks.count % mixed != 0) {
      refuse(
          fmt::format("with boft_n_butterfly_factor {} the size of a block must be even and the number of blocks a "
                      "multiple of {}, found {} blocks of {}",
                      config.boft_n_butterfly_factor, mixed, blocks.count, blocks.size));
    }
  }
  return blocks;
}

/// Of factor `index`: the column that comes to each place. Half blocks are dealt out within groups of 2^index blocks,
/// those at even places first.
at::Tensor butterfly_order(const Blocks& blocks, std::int64_t index) {
  const std::int64_t half = blocks.size / 2;
  const std::int64_t halves = std::int64_t{2} << index;
  std::vector<std::int64_t> order;
  for (std::int64_t group = 0; group < blocks.count * blocks.size; group += halves * half) {
    for (const std::int64_t odd : {0, 1}) {
      for (std::int64_t place = odd; place < halves; place += 2) {
        for (std::int64_t i = 0; i < half; ++i) order.push_back(group + place * half + i);
      }
    }
  }
  return at::tensor(order, at::kLong);
}

class BoftSlot final : public WeightSlot {
 public:
  BoftSlot(const Linear& base, const BoftConfig& config, at::Generator& generator)
      : BoftSlot(base, config, blocks_of(base, config), generator) {}

  at::Tensor forward(Linear& base, const at::Tensor& input, model::ForwardContext& context) override {
    // Rotations and scales are near one, where bfloat16 has steps of .004.
    const auto rotated =
        rotate(input.to(scales_.value().scalar_type()), rotations(context.next_dropout(dropout_)), context);
    const auto rotated_output = model::linear(rotated, base.weight, nullptr, context);
    auto output = rotated_output * scales_.use().view({-1});
    if (base.bias.value().defined()) output = output + base.bias.use();
    return output.to(rotated_output.scalar_type());
  }

  void merge_into(Linear& base) override {
    const at::NoGradGuard no_grad;
    // W M^t is the product of W's rows with the transposed factors in the other order.
    auto weight = base.weight.value();
    model::ForwardContext context;
    const auto factors = rotations({});
    for (std::int64_t index = 0; index < factors.size(0); ++index) {
      weight = multiply_factor(weight, factors[index].transpose(1, 2), index, context);
    }
    base.weight.set_value(weight * scales_.value());
  }

  std::vector<Parameter*> parameters() override { return {&matrices_, &scales_}; }

 private:
  BoftSlot(const Linear& base, const BoftConfig& config, const Blocks& blocks, at::Generator& generator)
      : dropout_(config.boft_dropout),
        matrices_(base.path() + ".boft_R",
                  at::zeros({config.boft_n_butterfly_factor, blocks.count, blocks.size, blocks.size})),
        scales_(base.path() + ".boft_s", at::ones({base.out_features(), 1})) {
    auto matrices = matrices_.value();
    auto scales = scales_.value();
    if (!config.init_weights) {
      matrices.normal_(0, 0.1, generator);
      scales.normal_(1, 0.1, generator);
    }
    const auto options = base.weight.value().options();
    matrices_.set_value(matrices.to(options));
    scales_.set_value(scales.to(options));
    for (std::int64_t index = 0; config.boft_n_butterfly_factor > 1 && index < config.boft_n_butterfly_factor;
         ++index) {
      orders_.push_back(butterfly_order(blocks, index).to(options.device()));
      inverse_orders_.push_back(at::argsort(orders_.back()));
    }
    for (Parameter* parameter : parameters()) parameter->set_trainable(true);
  }

  // [factors, blocks, n, n]; where it drops, some blocks of one factor rotate nothing.
  at::Tensor rotations(const model::kernels::Dropout& dropout) {
    const auto matrices = matrices_.use();
    auto all = cayley((matrices - matrices.transpose(2, 3)) / 2);
    if (dropout.probability <= 0) return all;
    auto generator = generator_at(dropout);
    const std::int64_t factors = all.size(0);
    const std::int64_t blocks = all.size(1);
    const auto factor = at::randint(factors, {1}, generator).item<std::int64_t>();
    const auto count = static_cast<std::int64_t>(dropout.probability * static_cast<double>(blocks));
    const auto dropped = at::zeros({factors, blocks}, at::kBool);
    dropped[factor].index_fill_(0, at::randperm(blocks, generator, at::kLong).slice(0, 0, count), true);
    return at::where(dropped.to(all.device()).unsqueeze(2).unsqueeze(3), at::eye(all.size(2), all.options()), all);
  }

  at::Tensor rotate(at::Tensor rows, const at::Tensor& factors, model::ForwardContext& context) const {
    for (std::int64_t index = factors.size(0) - 1; index >= 0; --index)
      rows = multiply_factor(rows, factors[index], index, context);
    return rows;
  }

  // rows P D P^t, where D has the blocks and P the order of a factor.
  at::Tensor multiply_factor(const at::Tensor& rows, const at::Tensor& blocks, std::int64_t index,
                             model::ForwardContext& context) const {
    if (orders_.empty()) return multiply_blocks(rows, blocks, context);
    const auto place = static_cast<std::size_t>(index);
    return multiply_blocks(rows.index_select(1, inverse_orders_[place]), blocks, context)
        .index_select(1, orders_[place]);
  }

  double dropout_;
  Parameter matrices_;  // [factors, blocks, n, n], whose skew-symmetric part counts
  Parameter scales_;    // [out, 1]
  std::vector<at::Tensor> orders_;
  std::vector<at::Tensor> inverse_orders_;
};

class Boft final : public LinearMethod {
 public:
  explicit Boft(BoftConfig config) : LinearMethod("boft", "BOFT", config.wrapping), config_(std::move(config)) {}

 protected:
  void fill(const std::vector<Linear*>& linears, at::Generator& generator) const override {
    for (Linear* linear : linears) linear->slot = std::make_unique<BoftSlot>(*linear, config_, generator);
  }

  void describe(nlohmann::json& config, const std::vector<Linear*>&) const override {
    config["boft_block_size"] = config_.boft_block_size;
    config["boft_block_num"] = config_.boft_block_num;
    config["boft_n_butterfly_factor"] = config_.boft_n_butterfly_factor;
    config["boft_dropout"] = config_.boft_dropout;
    config["init_weights"] = config_.init_weights;
    config["fan_in_fan_out"] = false;
  }

 private:
  BoftConfig config_;
};

MethodSpec read_boft_config(const AdapterConfig& config, model::Classifier& classifier) {
  MethodSpec spec{"boft", {}};
  read_peft_wrapping(config, classifier, true, spec);
  read_peft_settings(config, {"boft_block_size", "boft_block_num", "boft_n_butterfly_factor", "boft_dropout"}, spec);
  return spec;
}

std::unique_ptr<Method> make_boft(const MethodSettings& settings) {
  BoftConfig config{.boft_block_size = settings.size("boft_block_size", 0),
                    .boft_block_num = settings.size("boft_block_num", 0),
                    .boft_n_butterfly_factor = settings.size("boft_n_butterfly_factor", 1),
                    .boft_dropout = settings.number("boft_dropout", 0, 0.999),
                    .init_weights = settings.boolean("init_weights"),
                    .wrapping = read_wrapping(settings, "boft_only")};
  if ((config.boft_block_size == 0) == (config.boft_block_num == 0)) {
    throw UsageError(
        fmt::format("method 'boft': one of boft_block_size and boft_block_num must be 0, which the other one "
                    "decides; found {} and {}",
                    config.boft_block_size, config.boft_block_num));
  }
  if (config.boft_n_butterfly_factor > 32) {
    throw UsageError("method 'boft': boft_n_butterfly_factor is at most 32");
  }
  return std::make_unique<Boft>(std::move(config));
}

FileKeys boft_keys() {
  return joined({wrapping_keys(true),
                 heeded_keys({"boft_block_size", "boft_block_num", "boft_n_butterfly_factor", "boft_dropout"}),
                 {{"init_weights", KeyUse::no_effect, "the file holds the weights"}},
                 {{"fan_in_fan_out", KeyUse::noted, "PEFT does so, too, on a torch.nn.Linear"}}});
}

}  // namespace

MethodKind boft_kind() {
  return {.name = "boft",
          .family = "reparametrization",
          .summary = "shuffled rotations of the inputs and scales of the outputs of chosen linear layers train",
          .paper = "Liu et al., 2024, ICLR",
          .learning_rates = {1e-3, 3e-3, 1e-2},
          .settings = with_wrapping(
              {{"boft_block_size", "4", "size of a block, a divisor of the input's; 0: as boft_block_num says"},
               {"boft_block_num", "0", "number of blocks; 0: as boft_block_size says"},
               {"boft_n_butterfly_factor", "1", "how many rotations; PEFT reads more than 1 on a GPU only"},
               {"boft_dropout", "0", "the share of a rotation's blocks that are left out"},
               {"init_weights", "true", "start from no rotation; false: from a random one"}},
              "boft_only"),
          .make = make_boft,
          .peft_type = "BOFT",
          .read_peft = read_boft_config,
          .peft_keys = boft_keys()};
}

}  // namespace dtrain::peft
