#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "base/error.h"
#include "base/nearest_name.h"
#include "peft/methods/kinds.h"
#include "peft/parts/modules_to_save.h"
#include "peft/parts/targets.h"

namespace dtrain::peft {
namespace {

using model::LayerNorm;

std::vector<LayerNorm*> every_norm(model::Classifier& classifier) {
  std::vector<LayerNorm*> norms = {&classifier.encoder().embedding_norm()};
  for (int layer = 0; layer < classifier.encoder().layers(); ++layer) {
    const auto more = classifier.encoder().layer(layer).norms();
    norms.insert(norms.end(), more.begin(), more.end());
  }
  return norms;
}

std::vector<std::string> norm_paths(model::Classifier& classifier) {
  std::vector<std::string> paths;
  for (const LayerNorm* norm : every_norm(classifier)) paths.push_back(norm->path());
  return paths;
}

// What PEFT calls all of them.
std::vector<std::string> norm_names(model::Classifier& classifier) { return last_parts(norm_paths(classifier)); }

class NormTuning final : public Method {
 public:
  NormTuning(TargetModules targets, std::vector<std::string> modules_to_save)
      : targets_(std::move(targets)), modules_to_save_(std::move(modules_to_save)) {}

  void attach(model::Classifier& classifier, const AttachContext&) const override {
    for (LayerNorm* norm : chosen(classifier)) {
      norm->weight.set_trainable(true);
      norm->bias.set_trainable(true);
    }
    train_modules(classifier, modules_to_save_, "norm");
    train_head(classifier);
  }

  AdapterFormat format(const model::Classifier&) const override { return AdapterFormat::peft; }

  nlohmann::json adapter_config(model::Classifier& classifier, const std::string& base_model) const override {
    auto config = peft_config(classifier, "LN_TUNING", base_model);
    config["target_modules"] = names(classifier);
    if (!targets_.exclude.empty()) {
      config["target_modules"] = nlohmann::json::array();
      for (const LayerNorm* norm : chosen(classifier)) config["target_modules"].push_back(norm->path());
    }
    for (const std::string& name : modules_to_save_) config["modules_to_save"].push_back(name);
    return config;
  }

  /// PEFT keeps its copies of the norms in a module of their own.
  NamedParameters file_parameters(model::Classifier& classifier) const override {
    std::set<const model::Parameter*> copied;
    for (LayerNorm* norm : every_norm(classifier)) copied.insert({&norm->weight, &norm->bias});
    auto named = peft_parameters(classifier);
    for (auto& [name, parameter] : named) {
      if (copied.count(parameter) > 0) name.insert(name.rfind('.'), ".ln_tuning_layers");
    }
    return named;
  }

 private:
  std::vector<std::string> names(model::Classifier& classifier) const {
    return targets_.names == std::vector<std::string>{"auto"} ? norm_names(classifier) : targets_.names;
  }

  // The norms that train.
  std::vector<LayerNorm*> chosen(model::Classifier& classifier) const {
    const auto norms = every_norm(classifier);
    const auto targets = names(classifier);
    if (targets.empty()) {
      throw UsageError("method 'norm': target_modules is empty; expected names of norms, or auto");
    }
    for (const std::string& target : targets) {
      if (std::any_of(norms.begin(), norms.end(), [&](auto* norm) { return matches_path(norm->path(), target); })) {
        continue;
      }
      const auto known = norm_names(classifier);
      throw UsageError(fmt::format("method 'norm': no norm of the model ends with target_modules '{}'{}; it has: {}",
                                   target, did_you_mean(target, known), fmt::join(known, ", ")));
    }
    const auto is_among = [](const LayerNorm* norm, const std::vector<std::string>& some) {
      return std::any_of(some.begin(), some.end(), [&](const auto& name) { return matches_path(norm->path(), name); });
    };
    std::vector<LayerNorm*> found;
    std::copy_if(norms.begin(), norms.end(), std::back_inserter(found),
                 [&](auto* norm) { return is_among(norm, targets) && !is_among(norm, targets_.exclude); });
    if (found.empty()) {
      throw UsageError(fmt::format("method 'norm': exclude_modules leaves none of target_modules {}",
                                   fmt::join(targets_.names, "+")));
    }
    return found;
  }

  TargetModules targets_;
  std::vector<std::string> modules_to_save_;
};

MethodSpec read_norm_tuning_config(const AdapterConfig& config, model::Classifier& classifier) {
  MethodSpec spec{"norm", {{"target_modules", read_targets(config, norm_paths(classifier))}}};
  read_modules_to_save(config, classifier, spec);
  return spec;
}

}  // namespace

MethodKind norm_kind() {
  return {.name = "norm",
          .family = "freezing",
          .summary = "the layer norms and the classifier train",
          .paper = "Zhao et al., 2024, ICLR",
          .learning_rates = {1e-3, 3e-3, 1e-2},
          .settings = {{"target_modules", "auto", "names of the norms, joined by +, or auto: all"},
                       {"exclude_modules", "", "of those, the ones that are left alone"},
                       modules_to_save_setting()},
          .make = [](const MethodSettings& settings) -> std::unique_ptr<Method> {
            return std::make_unique<NormTuning>(
                TargetModules{.names = settings.list("target_modules"), .exclude = settings.list("exclude_modules")},
                settings.list("modules_to_save"));
          },
          .peft_type = "LN_TUNING",
          .read_peft = read_norm_tuning_config,
          .peft_keys = target_keys()};
}

}  // namespace dtrain::peft
