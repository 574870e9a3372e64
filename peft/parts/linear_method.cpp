#include "peft/parts/linear_method.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <cmath>

#include "base/random.h"
#include "peft/parts/modules_to_save.h"

namespace dtrain::peft {

std::vector<MethodSetting> with_wrapping(std::vector<MethodSetting> settings, const std::string& only_bias,
                                         const std::string& defaults) {
  settings.push_back({"target_modules", "auto",
                      fmt::format("names of the linear layers, joined by +, all-linear, or auto: {}", defaults)});
  settings.push_back({"exclude_modules", "", "of those, the ones that are left alone"});
  settings.push_back({"layers_to_transform", "", "numbers of the layers, joined by +; empty: all"});
  settings.push_back(modules_to_save_setting());
  if (!only_bias.empty()) {
    settings.push_back({"bias", "none", fmt::format("which biases train along: none, all or {}", only_bias)});
  }
  return settings;
}

Wrapping read_wrapping(const MethodSettings& settings, const std::string& only_bias) {
  Wrapping wrapping;
  wrapping.targets = {settings.list("target_modules"), settings.list("exclude_modules"),
                      settings.integers("layers_to_transform", 0)};
  wrapping.modules_to_save = settings.list("modules_to_save");
  if (!only_bias.empty()) wrapping.bias = settings.choice("bias", {"none", "all", only_bias});
  return wrapping;
}

std::vector<std::string> read_peft_wrapping(const AdapterConfig& config, model::Classifier& classifier, bool has_bias,
                                            MethodSpec& spec) {
  spec.settings["target_modules"] = read_targets(config, paths_of(classifier.linears()));
  if (has_bias) spec.settings["bias"] = config.value<std::string>("bias", "none");
  read_modules_to_save(config, classifier, spec);
  const MethodSettings targets(spec.name, with_wrapping({}, ""), {{"target_modules", spec.settings["target_modules"]}});
  return paths_of(find_targets(classifier, read_wrapping(targets, "").targets, query_and_value(classifier), spec.name));
}

FileKeys wrapping_keys(bool has_bias) { return joined({target_keys(), has_bias ? heeded_keys({"bias"}) : FileKeys()}); }

void read_peft_settings(const AdapterConfig& config, const std::vector<std::string>& keys, MethodSpec& spec) {
  for (const std::string& key : keys) {
    const auto value = config.value(key, nlohmann::json());
    if (value.is_null()) continue;
    if (value.is_structured()) config.refuse(key, "expected a text, a number, true or false");
    spec.settings[key] = value.is_string() ? value.get<std::string>() : value.dump();
  }
}

std::vector<model::Linear*> LinearMethod::wrapped(model::Classifier& classifier) const {
  return find_targets(classifier, wrapping_.targets, default_targets(classifier), name_);
}

void LinearMethod::attach(model::Classifier& classifier, const AttachContext& context) const {
  auto generator = at::detail::createCPUGenerator(stream_seed(context.seed, Purpose::method));
  const auto linears = wrapped(classifier);
  fill(linears, generator);
  train_biases(classifier, wrapping_.bias.value_or("none"), linears);
  train_modules(classifier, wrapping_.modules_to_save, name_);
  train_head(classifier);
}

nlohmann::json LinearMethod::adapter_config(model::Classifier& classifier, const std::string& base_model) const {
  auto config = peft_config(classifier, peft_type_, base_model);
  const auto linears = wrapped(classifier);
  config["target_modules"] = target_names(classifier, wrapping_.targets, linears);
  for (const std::string& name : wrapping_.modules_to_save) config["modules_to_save"].push_back(name);
  describe(config, linears);
  if (wrapping_.bias) config["bias"] = *wrapping_.bias;
  return config;
}

void LinearMethod::merge(model::Classifier& classifier) const {
  const at::NoGradGuard no_grad;
  for (model::Linear* linear : classifier.linears()) {
    auto* slot = dynamic_cast<WeightSlot*>(linear->slot.get());
    if (slot == nullptr) continue;
    slot->merge_into(*linear);
    linear->slot.reset();
  }
}

at::Tensor draw_uniform(std::int64_t rows, std::int64_t columns, const at::Tensor& like, at::Generator& generator) {
  const double bound = 1 / std::sqrt(static_cast<double>(columns));
  return at::empty({rows, columns}).uniform_(-bound, bound, generator).to(like.options());
}

}  // namespace dtrain::peft
