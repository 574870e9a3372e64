#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/nearest_name.h"
#include "base/random.h"
#include "peft/methods/kinds.h"
#include "peft/parts/modules_to_save.h"
#include "peft/parts/targets.h"

namespace dtrain::peft {
namespace {

/// PEFT's IA3Config.
struct Ia3Config {
  TargetModules targets;
  /// Of the targets, those whose input is scaled; {"auto"}: the linear layers that end a sub-layer.
  std::vector<std::string> feedforward_modules = {"auto"};
  /// Ones, so that nothing changes at first; else normal.
  bool init_ia3_weights = true;
  std::vector<std::string> modules_to_save = {};
};

class Ia3Slot final : public model::LinearSlot {
 public:
  /// `scale` [1, in] where it is the input's, else [out, 1].
  Ia3Slot(const model::Linear& base, bool scales_input, const at::Tensor& scale)
      : scales_input_(scales_input), scale_(base.path() + ".ia3_l", scale.to(base.weight.value().options())) {
    scale_.set_trainable(true);
  }

  at::Tensor forward(model::Linear& base, const at::Tensor& input, model::ForwardContext& context) override {
    if (scales_input_) return base.base_forward(scaled(input), context);
    return scaled(base.base_forward(input, context));
  }

  std::vector<model::Parameter*> parameters() override { return {&scale_}; }

  void merge(model::Linear& base) const {
    base.weight.set_value(base.weight.value() * scale_.value());
    if (!scales_input_) base.bias.set_value(base.bias.value() * scale_.value().view({-1}));
  }

 private:
  // A scale is near one, where bfloat16 has steps of .004: the product is taken in float.
  at::Tensor scaled(const at::Tensor& rows) { return (rows * scale_.use().view({-1})).to(rows.scalar_type()); }

  bool scales_input_;
  model::Parameter scale_;
};

// Key, value, and both linear layers that end a sub-layer: what PEFT's default, "output.dense", names in BERT. The same
// in every family, so that it is the same method there.
std::vector<model::Linear*> default_targets(model::Classifier& classifier) {
  std::vector<model::Linear*> found;
  for (int index = 0; index < classifier.encoder().layers(); ++index) {
    auto& layer = classifier.encoder().layer(index);
    found.insert(found.end(), {&layer.key, &layer.value, &layer.attention_output, &layer.output});
  }
  return found;
}

bool ends_with_any(const std::string& path, const std::vector<std::string>& ends) {
  return std::any_of(ends.begin(), ends.end(), [&](const std::string& end) { return path.ends_with(end); });
}

bool is_end_of_any(const std::string& end, const std::vector<std::string>& paths) {
  return std::any_of(paths.begin(), paths.end(), [&](const std::string& path) { return path.ends_with(end); });
}

class Ia3 final : public Method {
 public:
  explicit Ia3(Ia3Config config) : config_(std::move(config)) {}

  void attach(model::Classifier& classifier, const AttachContext& context) const override {
    auto generator = at::detail::createCPUGenerator(stream_seed(context.seed, Purpose::method));
    const auto linears = wrapped(classifier);
    check_feedforward(linears);
    for (model::Linear* linear : linears) {
      const bool scales_input = is_feedforward(classifier, *linear);
      auto scale = scales_input ? at::ones({1, linear->in_features()}) : at::ones({linear->out_features(), 1});
      if (!config_.init_ia3_weights) scale.normal_(0, 1, generator);
      linear->slot = std::make_unique<Ia3Slot>(*linear, scales_input, scale);
    }
    train_modules(classifier, config_.modules_to_save, "ia3");
    train_head(classifier);
  }

  AdapterFormat format(const model::Classifier&) const override { return AdapterFormat::peft; }

  nlohmann::json adapter_config(model::Classifier& classifier, const std::string& base_model) const override {
    auto config = peft_config(classifier, "IA3", base_model);
    const auto linears = wrapped(classifier);
    // PEFT wants feedforward_modules among target_modules, and reads them by the end of a path alone.
    auto targets = target_names(classifier, config_.targets, linears);
    auto feedforward = feedforward_among(classifier, linears, targets);
    const bool exact = std::all_of(linears.begin(), linears.end(), [&](const model::Linear* linear) {
      return is_feedforward(classifier, *linear) == ends_with_any(linear->path(), feedforward);
    });
    if (!exact) {
      targets.clear();
      for (const model::Linear* linear : linears) targets.push_back(linear->path());
      feedforward = feedforward_among(classifier, linears, targets);
    }
    config["target_modules"] = targets;
    config["feedforward_modules"] = feedforward;
    config["fan_in_fan_out"] = false;
    config["init_ia3_weights"] = config_.init_ia3_weights;
    for (const std::string& name : config_.modules_to_save) config["modules_to_save"].push_back(name);
    return config;
  }

  void merge(model::Classifier& classifier) const override {
    const at::NoGradGuard no_grad;
    for (model::Linear* linear : classifier.linears()) {
      const auto* slot = dynamic_cast<const Ia3Slot*>(linear->slot.get());
      if (slot == nullptr) continue;
      slot->merge(*linear);
      linear->slot.reset();
    }
  }

 private:
  std::vector<model::Linear*> wrapped(model::Classifier& classifier) const {
    return find_targets(classifier, config_.targets, default_targets(classifier), "ia3");
  }

  // PEFT, too, wants each of feedforward_modules among target_modules.
  void check_feedforward(const std::vector<model::Linear*>& linears) const {
    for (const char* word : {"auto", "none"}) {
      if (config_.feedforward_modules == std::vector<std::string>{word}) return;
    }
    const auto names = last_parts(paths_of(linears));
    for (const std::string& name : config_.feedforward_modules) {
      if (is_end_of_any(name, paths_of(linears))) continue;
      throw UsageError(fmt::format(
          "method 'ia3': feedforward_modules '{}' is none of target_modules{}; the linear layers that are wrapped "
          "end with: {}",
          name, did_you_mean(name, names), fmt::join(names, ", ")));
    }
  }

  bool is_feedforward(model::Classifier& classifier, const model::Linear& linear) const {
    if (config_.feedforward_modules != std::vector<std::string>{"auto"}) {
      return ends_with_any(linear.path(), config_.feedforward_modules);
    }
    for (int index = 0; index < classifier.encoder().layers(); ++index) {
      const auto& layer = classifier.encoder().layer(index);
      if (&linear == &layer.attention_output || &linear == &layer.output) return true;
    }
    return false;
  }

  // Of `targets`, those that name only linear layers whose input is scaled.
  std::vector<std::string> feedforward_among(model::Classifier& classifier, const std::vector<model::Linear*>& linears,
                                             const std::vector<std::string>& targets) const {
    std::vector<std::string> found;
    for (const std::string& target : targets) {
      if (std::all_of(linears.begin(), linears.end(), [&](const model::Linear* linear) {
            return !matches_path(linear->path(), target) || is_feedforward(classifier, *linear);
          })) {
        found.push_back(target);
      }
    }
    return found;
  }

  Ia3Config config_;
};

MethodSpec read_ia3_config(const AdapterConfig& config, model::Classifier& classifier) {
  const auto paths = paths_of(classifier.linears());
  MethodSpec spec{"ia3", {{"target_modules", read_targets(config, paths)}}};
  if (!config.json().value("feedforward_modules", nlohmann::json()).is_null()) {
    auto feedforward = read_names(config, "feedforward_modules", paths);
    // An expression of PEFT's may match more than the targets, and a list may name what another model has.
    const MethodSettings targets(spec.name, {{"target_modules", "", ""}}, spec.settings);
    const auto wrapped = paths_of(find_targets(classifier, {.names = targets.list("target_modules")}, {}, spec.name));
    std::erase_if(feedforward, [&](const std::string& name) { return !is_end_of_any(name, wrapped); });
    spec.settings["feedforward_modules"] =
        feedforward.empty() ? "none" : fmt::format("{}", fmt::join(feedforward, "+"));
  }
  read_modules_to_save(config, classifier, spec);
  return spec;
}

FileKeys ia3_keys() {
  return joined({target_keys(),
                 heeded_keys({"feedforward_modules"}),
                 {{"init_ia3_weights", KeyUse::no_effect, "the file holds the weights"}},
                 {{"fan_in_fan_out", KeyUse::no_effect, "PEFT does so, too, on a torch.nn.Linear"}}});
}

}  // namespace

MethodKind ia3_kind() {
  return {
      .name = "ia3",
      .family = "added modules",
      .summary = "vectors that scale keys, values and what ends a sub-layer train",
      .paper = "Liu et al., 2022, NeurIPS",
      .learning_rates = {3e-3, 1e-2, 3e-2},
      .settings =
          {{"target_modules", "auto",
            "names of the linear layers, joined by +, all-linear, or auto: key, value and both that end a sub-layer"},
           {"exclude_modules", "", "of those, the ones that are left alone"},
           {"feedforward_modules", "auto",
            "of those, the ones whose input is scaled, or none, or auto: those that end a sub-layer"},
           {"init_ia3_weights", "true", "start from ones, which change nothing; false: from normal numbers"},
           modules_to_save_setting()},
      .make = [](const MethodSettings& settings) -> std::unique_ptr<Method> {
        return std::make_unique<Ia3>(Ia3Config{
            .targets = {.names = settings.list("target_modules"), .exclude = settings.list("exclude_modules")},
            .feedforward_modules = settings.list("feedforward_modules"),
            .init_ia3_weights = settings.boolean("init_ia3_weights"),
            .modules_to_save = settings.list("modules_to_save")});
      },
      .peft_type = "IA3",
      .read_peft = read_ia3_config,
      .peft_keys = ia3_keys()};
}

}  // namespace dtrain::peft
