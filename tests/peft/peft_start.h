#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/atomic_file.h"
#include "model/formats/classifier_files.h"
#include "model/formats/safetensors.h"
#include "peft/formats/trained_model.h"
#include "peft/registry.h"
#include "tests/model/reference_case.h"

namespace dtrain::peft {

/// A model as PEFT had it when it saved a case of peft_cases.py, and what trains in it under the names that the
/// reference numbers have there.
struct PeftStart {
  std::unique_ptr<model::Classifier> classifier;
  MethodSpec method;
  NamedParameters parameters;
};

inline PeftStart read_peft_start(const std::filesystem::path& directory, const std::filesystem::path& base,
                                 model::Pooling pooling) {
  PeftStart start;
  if (!std::filesystem::exists(directory / "spec.txt")) {
    auto trained = load_trained(directory, base, pooling, model::test_device(), Log());
    start = {std::move(trained.classifier), trained.method, {}};
    for (const auto& [name, parameter] : make_method(start.method)->file_parameters(*start.classifier)) {
      if (parameter->trainable()) start.parameters.emplace_back(name, parameter);
    }
    return start;
  }
  // PEFT's files do not say what trains, or there is no adapter at all.
  start.method = parse_method_spec(read_file(directory / "spec.txt"));
  start.classifier = model::load_classifier(
      {.directory = base, .pooling = pooling, .trained_head = true, .device = model::test_device()});
  make_method(start.method)->attach(*start.classifier, {});
  start.parameters = trained_parameters(*start.classifier);
  if (!std::filesystem::exists(directory / "start.safetensors")) return start;
  const model::SafetensorsFile file(directory / "start.safetensors");
  for (auto& [name, parameter] : start.parameters) {
    // PEFT's own modules beside the model have the names they have here; of those in it some are in its "model".
    for (const char* prefix : {"base_model.", "base_model.model."}) {
      if (!file.contains(name) && file.contains(prefix + name)) name.insert(0, prefix);
    }
    parameter->set_value(file.float_tensor(name, parameter->value().sizes()).to(model::test_device()));
  }
  return start;
}

}  // namespace dtrain::peft
