#include "peft/method.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"

namespace dtrain::peft {

std::string MethodSpec::text() const {
  std::string text = name;
  for (const auto& [key, value] : settings) text += ":" + key + "=" + value;
  return text;
}

MethodSpec parse_method_spec(const std::string& text) {
  MethodSpec spec;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(':', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const std::size_t equals = part.find('=');
    if (begin == 0) {
      if (part.empty() || equals != std::string::npos) {
        throw UsageError(fmt::format("method '{}': expected NAME[:KEY=VALUE...], such as lora:r=16", text));
      }
      spec.name = part;
    } else if (equals == std::string::npos || equals == 0) {
      throw UsageError(fmt::format("method '{}': '{}' is not KEY=VALUE", text, part));
    } else if (!spec.settings.emplace(part.substr(0, equals), part.substr(equals + 1)).second) {
      throw UsageError(fmt::format("method '{}': '{}' is given twice", text, part.substr(0, equals)));
    }
    begin = end + 1;
  }
  return spec;
}

std::vector<std::pair<std::string, model::Parameter*>> trained_parameters(model::Classifier& classifier,
                                                                          bool peft_names) {
  std::set<const model::Parameter*> wrapped;
  for (const model::Linear* linear : classifier.linears()) {
    if (linear->slot != nullptr) wrapped.insert(&linear->bias);
  }
  std::vector<std::pair<std::string, model::Parameter*>> named;
  for (model::Parameter* parameter : classifier.parameters()) {
    if (!parameter->trainable()) continue;
    std::string name = parameter->name();
    if (peft_names) {
      if (wrapped.count(parameter) > 0) name.insert(name.rfind('.'), ".base_layer");
      name.insert(0, "base_model.model.");
    }
    named.emplace_back(std::move(name), parameter);
  }
  return named;
}

void train_classifier(model::Classifier& classifier) {
  classifier.classifier.weight.set_trainable(true);
  classifier.classifier.bias.set_trainable(true);
  if (classifier.pooler_is_new) {
    classifier.pooler.weight.set_trainable(true);
    classifier.pooler.bias.set_trainable(true);
  }
}

}  // namespace dtrain::peft
