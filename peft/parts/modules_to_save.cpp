#include "peft/parts/modules_to_save.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/nearest_name.h"
#include "model/registry.h"

namespace dtrain::peft {
namespace {

// Of "a.b.weight": "a" and "a.b".
std::vector<std::string> modules_above(const std::string& parameter) {
  std::vector<std::string> modules;
  for (std::size_t dot = parameter.find('.'); dot != std::string::npos; dot = parameter.find('.', dot + 1)) {
    modules.push_back(parameter.substr(0, dot));
  }
  return modules;
}

// As PEFT says that a module is to be saved: without a dot before the name.
bool is_below(const model::Parameter& parameter, const std::string& name) {
  const auto modules = modules_above(parameter.name());
  return std::any_of(modules.begin(), modules.end(), [&](const std::string& module) { return module.ends_with(name); });
}

}  // namespace

MethodSetting modules_to_save_setting() {
  return {"modules_to_save", "", "modules that train as a whole besides the head, such as pooler"};
}

void train_modules(model::Classifier& classifier, const std::vector<std::string>& names, const std::string& method) {
  for (const std::string& name : names) {
    bool found = false;
    std::vector<std::string> there;
    for (model::Parameter* parameter : classifier.parameters()) {
      if (is_below(*parameter, name)) {
        parameter->set_trainable(true);
        found = true;
      }
      for (const auto& module : modules_above(parameter->name())) there.push_back(module.substr(module.rfind('.') + 1));
    }
    if (found) continue;
    throw UsageError(fmt::format("method '{}': no module of the model ends with modules_to_save '{}'{}", method, name,
                                 did_you_mean(name, there)));
  }
}

std::vector<std::string> read_modules_to_save(const AdapterConfig& config, const model::Classifier& classifier) {
  // The head is among them under these names, which PEFT adds anew each time it loads and saves.
  std::set<std::string> head = {"classifier", "score"};
  if (classifier.dense_is_head) head.insert(model::family(classifier.config().model_type).head.dense_module);
  std::vector<std::string> others;
  for (const std::string& name : config.strings("modules_to_save")) {
    if (head.insert(name).second) others.push_back(name);
  }
  return others;
}

void read_modules_to_save(const AdapterConfig& config, const model::Classifier& classifier, MethodSpec& spec) {
  const auto others = read_modules_to_save(config, classifier);
  if (!others.empty()) spec.settings["modules_to_save"] = fmt::format("{}", fmt::join(others, "+"));
}

}  // namespace dtrain::peft
