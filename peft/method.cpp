#include "peft/method.h"

#include <fmt/format.h>

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

NamedTensors trained_tensors(model::Classifier& classifier, bool peft_names) {
  NamedTensors tensors;
  for (const model::Parameter* parameter : classifier.parameters()) {
    if (parameter->trainable())
      tensors.emplace_back((peft_names ? "base_model.model." : "") + parameter->name(), parameter->value());
  }
  return tensors;
}

void train_classifier(model::Classifier& classifier) {
  classifier.classifier.weight.set_trainable(true);
  classifier.classifier.bias.set_trainable(true);
}

}  // namespace dtrain::peft
