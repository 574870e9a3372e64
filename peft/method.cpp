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

NamedParameters Method::file_parameters(model::Classifier& classifier) const {
  return format(classifier) == AdapterFormat::peft ? peft_parameters(classifier) : trained_parameters(classifier);
}

NamedTensors Method::saved_tensors(model::Classifier& classifier) const {
  NamedTensors tensors;
  for (const auto& [name, parameter] : file_parameters(classifier)) tensors.emplace_back(name, parameter->value());
  return tensors;
}

NamedParameters trained_parameters(model::Classifier& classifier) {
  NamedParameters named;
  for (model::Parameter* parameter : classifier.parameters()) {
    if (parameter->trainable()) named.emplace_back(parameter->name(), parameter);
  }
  return named;
}

NamedParameters peft_parameters(model::Classifier& classifier) {
  std::set<const model::Parameter*> wrapped;
  for (const model::Linear* linear : classifier.linears()) {
    if (linear->slot != nullptr) wrapped.insert({&linear->weight, &linear->bias});
  }
  auto named = trained_parameters(classifier);
  for (auto& [name, parameter] : named) {
    if (wrapped.count(parameter) > 0) name.insert(name.rfind('.'), ".base_layer");
    name.insert(0, "base_model.model.");
  }
  return named;
}

nlohmann::json peft_config(model::Classifier& classifier, const std::string& peft_type, const std::string& base_model) {
  nlohmann::json config;
  config["peft_type"] = peft_type;
  config["task_type"] = "SEQ_CLS";
  config["base_model_name_or_path"] = base_model;
  config["inference_mode"] = true;
  config["modules_to_save"] = {"classifier", "score"};
  const std::string& module = model::family(classifier.config().model_type).head.dense_module;
  if (classifier.uses_dense() && classifier.dense_is_head && module != "classifier") {
    config["modules_to_save"].push_back(module);
  }
  return config;
}

void train_head(model::Classifier& classifier) {
  std::vector<model::Linear*> linears = {&classifier.classifier};
  if (classifier.uses_dense() && classifier.dense_is_head) linears.push_back(&classifier.dense);
  for (model::Linear* linear : linears) {
    linear->weight.set_trainable(true);
    linear->bias.set_trainable(true);
  }
}

void train_stages_from(model::Classifier& classifier, int stage) {
  for (; stage < classifier.stages(); ++stage) {
    for (model::Parameter* parameter : classifier.stage_parameters(stage)) parameter->set_trainable(true);
  }
}

void train_biases(model::Classifier& classifier, const std::string& bias, const std::vector<model::Linear*>& wrapped) {
  if (bias == "none") return;
  if (bias == "all") {
    for (model::Parameter* parameter : classifier.parameters()) {
      if (parameter->name().ends_with(".bias")) parameter->set_trainable(true);
    }
    return;
  }
  for (model::Linear* linear : wrapped) linear->bias.set_trainable(true);
}

}  // namespace dtrain::peft
