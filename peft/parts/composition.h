#pragma once

#include <ATen/core/Generator.h>

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "peft/method_kind.h"

namespace dtrain::peft {

/// A part of a composition: what it adds to a model, and adapter-hub's configuration of it.
struct MethodPart {
  std::function<void(model::Classifier& classifier, at::Generator& generator)> add;
  nlohmann::json config;
};

/// A method that adds its parts to one model, where they plug in at different places. Saved as adapter-hub's union.
std::unique_ptr<Method> make_composition(std::vector<MethodPart> parts);

/// A kind of part in adapter-hub's unions, by its `architecture`.
struct PartKind {
  std::string architecture;
  /// Those of its configuration.
  FileKeys keys;
  /// Its settings.
  std::map<std::string, std::string> (*read)(const AdapterConfig& config);
};
const std::vector<PartKind>& part_kinds();

/// The keys of a union's own configuration.
FileKeys composition_keys();

/// The method, of those that compose others, that one of adapter-hub's unions describes. Throws InputError for others.
MethodSpec read_composition(const AdapterConfig& config);

}  // namespace dtrain::peft
