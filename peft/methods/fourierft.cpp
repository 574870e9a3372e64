#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <memory>

#include "base/error.h"
#include "peft/methods/kinds.h"
#include "peft/parts/patterns.h"
#include "peft/parts/weight_change.h"

namespace dtrain::peft {
namespace {

using model::Linear;
using model::Parameter;

/// PEFT's FourierFTConfig.
struct FourierFtConfig {
  std::int64_t n_frequency = 1000;
  double scaling = 150;
  std::int64_t random_loc_seed = 777;
  /// Whether the numbers are zero at first. By default they are not, and a fresh adapter changes the model.
  bool init_weights = false;
  Pattern n_frequency_pattern = {};
  Wrapping wrapping;

  std::int64_t n_frequency_of(const std::string& path) const {
    return static_cast<std::int64_t>(pattern_value(n_frequency_pattern, path, static_cast<double>(n_frequency)));
  }
};

// Beyond the weights of every linear layer.
constexpr std::int64_t kMostFrequencies = std::int64_t{1} << 34;

class FourierFtSlot final : public WeightChangeSlot {
 public:
  /// With n_frequency for this linear layer, whatever the pattern is.
  FourierFtSlot(const Linear& base, const FourierFtConfig& config, at::Generator& generator)
      : WeightChangeSlot({}),
        scaling_(config.scaling),
        sizes_{base.out_features(), base.in_features()},
        spectrum_(base.path() + ".fourierft_spectrum", draw(base, config, generator)) {
    const std::int64_t elements = sizes_[0] * sizes_[1];
    // Bit by bit PEFT's, which does not save them.
    auto places = at::detail::createCPUGenerator(static_cast<std::uint64_t>(config.random_loc_seed));
    places_ = at::randperm(elements, places, at::kLong).slice(0, 0, config.n_frequency).to(spectrum_.value().device());
    spectrum_.set_trainable(true);
  }

  std::vector<Parameter*> parameters() override { return {&spectrum_}; }

 protected:
  at::Tensor change(model::ForwardContext&) override {
    const auto spectrum = spectrum_.use();
    const auto dense = at::zeros({sizes_[0] * sizes_[1]}, spectrum.options()).index_copy(0, places_, spectrum);
    return at::real(at::fft_ifft2(dense.view(sizes_))) * scaling_;
  }

 private:
  static at::Tensor draw(const Linear& base, const FourierFtConfig& config, at::Generator& generator) {
    const std::int64_t elements = base.out_features() * base.in_features();
    if (config.n_frequency > elements) {
      throw UsageError(fmt::format("method 'fourierft': n_frequency is {}, but {} has {} weights", config.n_frequency,
                                   base.path(), elements));
    }
    const auto drawn =
        config.init_weights ? at::zeros({config.n_frequency}) : at::randn({config.n_frequency}, generator);
    return drawn.to(base.weight.value().options());
  }

  double scaling_;
  std::vector<std::int64_t> sizes_;  // out, in
  Parameter spectrum_;               // [n_frequency]
  at::Tensor places_;                // [n_frequency]: where they are in the flat matrix
};

class FourierFt final : public LinearMethod {
 public:
  explicit FourierFt(FourierFtConfig config)
      : LinearMethod("fourierft", "FOURIERFT", config.wrapping), config_(std::move(config)) {}

 protected:
  void fill(const std::vector<Linear*>& linears, at::Generator& generator) const override {
    check_whole_pattern(config_.n_frequency_pattern, paths_of(linears), "n_frequency_pattern", "fourierft");
    for (Linear* linear : linears) {
      FourierFtConfig config = config_;
      config.n_frequency = config_.n_frequency_of(linear->path());
      linear->slot = std::make_unique<FourierFtSlot>(*linear, config, generator);
    }
  }

  void describe(nlohmann::json& config, const std::vector<Linear*>& linears) const override {
    config["n_frequency"] = config_.n_frequency;
    config["scaling"] = config_.scaling;
    config["random_loc_seed"] = config_.random_loc_seed;
    config["n_frequency_pattern"] =
        peft_pattern(config_.n_frequency_pattern, paths_of(linears), static_cast<double>(config_.n_frequency));
    config["init_weights"] = config_.init_weights;
    config["fan_in_fan_out"] = false;
  }

 private:
  FourierFtConfig config_;
};

MethodSpec read_fourierft_config(const AdapterConfig& config, model::Classifier& classifier) {
  MethodSpec spec{"fourierft", {}};
  const auto paths = read_peft_wrapping(config, classifier, true, spec);
  read_peft_settings(config, {"n_frequency", "scaling", "random_loc_seed"}, spec);
  read_peft_pattern(config, "n_frequency_pattern", paths, config.value("n_frequency", 1000.0), spec);
  return spec;
}

FileKeys fourierft_keys() {
  return joined({wrapping_keys(true),
                 heeded_keys({"n_frequency", "n_frequency_pattern", "scaling", "random_loc_seed"}),
                 {{"init_weights", KeyUse::no_effect, "the file holds the weights"}},
                 {{"fan_in_fan_out", KeyUse::noted, "PEFT does so, too, on a torch.nn.Linear"}}});
}

}  // namespace

MethodKind fourierft_kind() {
  return {
      .name = "fourierft",
      .family = "reparametrization",
      .summary = "a few Fourier coefficients of each weight's change train",
      .paper = "Gao et al., 2024, ICML",
      .learning_rates = {1e-2, 3e-2, 1e-1},
      .settings = with_wrapping({{"n_frequency", "1000", "how many coefficients of a linear layer train"},
                                 {"n_frequency_pattern", "", "other numbers: NAME~NUMBER joined by +"},
                                 {"scaling", "150", "of the change"},
                                 {"random_loc_seed", "777", "which coefficients train"},
                                 {"init_weights", "false", "start from no change; false: from random coefficients"}},
                                "fourier_only"),
      .make = [](const MethodSettings& settings) -> std::unique_ptr<Method> {
        return std::make_unique<FourierFt>(FourierFtConfig{
            .n_frequency = settings.size("n_frequency", 1, kMostFrequencies),
            .scaling = settings.number("scaling", 0, 1e6),
            .random_loc_seed = settings.integer("random_loc_seed", 0),
            .init_weights = settings.boolean("init_weights"),
            .n_frequency_pattern = settings.pattern("n_frequency_pattern", 1, static_cast<double>(kMostFrequencies)),
            .wrapping = read_wrapping(settings, "fourier_only")});
      },
      .peft_type = "FOURIERFT",
      .read_peft = read_fourierft_config,
      .peft_keys = fourierft_keys()};
}

}  // namespace dtrain::peft
