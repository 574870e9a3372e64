#include "peft/norm_tuning.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/nearest_name.h"
#include "peft/modules_to_save.h"
#include "peft/targets.h"

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

// The last parts of their paths, each once: what PEFT calls all of them.
std::vector<std::string> norm_names(model::Classifier& classifier) {
  std::vector<std::string> names;
  for (const LayerNorm* norm : every_norm(classifier)) {
    const std::string name = norm->path().substr(norm->path().rfind('.') + 1);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

class NormTuning final : public Method {
 public:
  NormTuning(std::vector<std::string> targets, std::vector<std::string> modules_to_save)
      : targets_(std::move(targets)), modules_to_save_(std::move(modules_to_save)) {}

  void attach(model::Classifier& classifier, std::uint64_t) const override {
    for (const std::string& target : targets(classifier)) {
      bool found = false;
      for (LayerNorm* norm : every_norm(classifier)) {
        if (!matches_path(norm->path(), target)) continue;
        norm->weight.set_trainable(true);
        norm->bias.set_trainable(true);
        found = true;
      }
      const auto names = norm_names(classifier);
      if (!found) {
        throw UsageError(fmt::format("method 'norm': no norm of the model ends with target_modules '{}'{}; it has: {}",
                                     target, did_you_mean(target, names), fmt::join(names, ", ")));
      }
    }
    train_modules(classifier, modules_to_save_, "norm");
    train_head(classifier);
  }

  AdapterFormat format(const model::Classifier&) const override { return AdapterFormat::peft; }

  nlohmann::json adapter_config(model::Classifier& classifier, const std::string& base_model) const override {
    auto config = peft_config(classifier, "LN_TUNING", base_model);
    config["target_modules"] = targets(classifier);
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
  std::vector<std::string> targets(model::Classifier& classifier) const {
    return targets_ == std::vector<std::string>{"auto"} ? norm_names(classifier) : targets_;
  }

  std::vector<std::string> targets_;
  std::vector<std::string> modules_to_save_;
};

MethodSpec read_peft(const AdapterConfig& config, model::Classifier& classifier) {
  std::vector<std::string> paths;
  for (const LayerNorm* norm : every_norm(classifier)) paths.push_back(norm->path());
  MethodSpec spec{"norm", {{"target_modules", read_targets(config, paths)}}};
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
                       modules_to_save_setting()},
          .make = [](const Settings& settings) -> std::unique_ptr<Method> {
            return std::make_unique<NormTuning>(settings.list("target_modules"), settings.list("modules_to_save"));
          },
          .peft_type = "LN_TUNING",
          .read_peft = read_peft};
}

}  // namespace dtrain::peft
