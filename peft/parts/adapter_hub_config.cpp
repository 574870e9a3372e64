#include "peft/parts/adapter_hub_config.h"

#include "model/registry.h"

namespace dtrain::peft {
namespace {

using nlohmann::json;

// The release whose layout this is. Readers of the package take files without one for old ones.
constexpr const char* kVersion = "adapters.1.3.0";

}  // namespace

json adapter_hub_model(model::Classifier& classifier, const std::string& base_model) {
  const auto& config = classifier.config();
  return {{"hidden_size", config.hidden_size},
          {"model_class", model::family(config.model_type).classifier_architecture},
          {"model_name", base_model},
          {"model_type", config.model_type},
          {"version", kVersion}};
}

FileKeys adapter_hub_file_keys() {
  return {{"config", KeyUse::heeded, "the adapter's configuration"},
          {"name", KeyUse::heeded, "the adapter's name in those of its tensors"},
          {"model_name", KeyUse::heeded, "the base model, where --model names none"},
          {"version", KeyUse::heeded, "files without one are read as old ones"},
          {"hidden_size", KeyUse::no_effect, "the tensors' shapes say it"},
          {"model_class", KeyUse::no_effect, "the Python class of the base model"},
          {"model_type", KeyUse::no_effect, "the tensors' names say it"}};
}

FileKeys adapter_hub_head_keys() {
  return {
      {"label2id", KeyUse::heeded, "the names of the classes"},
      {"config", KeyUse::refused, "a head of the package's own; that of AutoModelForSequenceClassification is read"},
      {"name", KeyUse::no_effect, "of a head of the package's own"},
      {"num_labels", KeyUse::no_effect, "the tensors' shapes say it"},
      {"model_name", KeyUse::no_effect, "adapter_config.json says it"},
      {"version", KeyUse::no_effect, "adapter_config.json says it"},
      {"hidden_size", KeyUse::no_effect, "the tensors' shapes say it"},
      {"model_class", KeyUse::no_effect, "the Python class of the base model"},
      {"model_type", KeyUse::no_effect, "the tensors' names say it"}};
}

json adapter_hub_config(model::Classifier& classifier, const json& config, const std::string& base_model) {
  json outer = adapter_hub_model(classifier, base_model);
  outer["config"] = config;
  outer["name"] = kAdapterName;
  return outer;
}

}  // namespace dtrain::peft
