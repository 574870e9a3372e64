#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/file_keys.h"
#include "peft/adapter_config.h"
#include "peft/method.h"
#include "peft/method_settings.h"

namespace dtrain::peft {

/// A kind of method, as `dtrain methods` and the study see it.
struct MethodKind {
  std::string name;
  /// "freezing", "reparametrization", "added modules" or "composition".
  std::string family;
  /// One line: what trains.
  std::string summary;
  /// Authors, year and where it was published; empty for the oldest practice.
  std::string paper;
  /// The grid that a comparison searches; the middle one is the default.
  std::vector<double> learning_rates;
  std::vector<MethodSetting> settings;
  std::unique_ptr<Method> (*make)(const MethodSettings&);
  /// PEFT's peft_type, where PEFT has the method.
  std::string peft_type = {};
  /// The spec that makes here what PEFT's configuration file describes. Throws InputError for what is not supported.
  MethodSpec (*read_peft)(const AdapterConfig&, model::Classifier&) = nullptr;
  /// The keys of that file besides those of every method (peft/formats/peft_files.h).
  FileKeys peft_keys = {};
  /// adapter-hub's `architecture`, where it has the method. Of several methods with one, the first reads all.
  std::string adapter_hub_architecture = {};
  MethodSpec (*read_adapter_hub)(const AdapterConfig&) = nullptr;
  /// The keys of that configuration.
  FileKeys adapter_hub_keys = {};
};

}  // namespace dtrain::peft
