#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/classifier.h"
#include "peft/adapter_config.h"

namespace dtrain::peft {

/// Which linear layers a method wraps: PEFT's target_modules, exclude_modules and layers_to_transform.
struct TargetModules {
  /// Module paths or their ends; {"auto"}: what the method wraps by default in this family of models; {"all-linear"}:
  /// every linear layer of the encoder.
  std::vector<std::string> names = {"auto"};
  std::vector<std::string> exclude = {};
  /// Of those that are named by their ends, the ones in these layers; empty: in all.
  std::vector<std::int64_t> layers = {};
};

/// The linear layers that they name, in the model's order. `defaults`: what "auto" stands for. Throws UsageError naming
/// a target that no module has, and what there is.
std::vector<model::Linear*> find_targets(model::Classifier& classifier, const TargetModules& targets,
                                         const std::vector<model::Linear*>& defaults, const std::string& method);

/// Query and value of every layer: what most methods wrap by default.
std::vector<model::Linear*> query_and_value(model::Classifier& classifier);

/// target_modules for PEFT's configuration file: the names as they were given, or, where these are words that PEFT
/// would read in another way, the paths of the modules.
std::vector<std::string> target_names(model::Classifier& classifier, const TargetModules& targets,
                                      const std::vector<model::Linear*>& wrapped);

/// A key of PEFT's configuration file that names modules: the names of its list, or, where it is a regular expression,
/// those of `paths` that the expression matches as a whole. Empty where the key is missing. Throws InputError for an
/// expression that std::regex cannot read or that matches nothing.
std::vector<std::string> read_names(const AdapterConfig& config, const std::string& key,
                                    const std::vector<std::string>& paths);

/// PEFT's target_modules as a setting, worked out on `paths` together with exclude_modules, layers_to_transform,
/// layers_pattern and modules_to_save: its names joined by +, or, where names do not say it all, paths. Throws
/// InputError where target_modules is missing.
std::string read_targets(const AdapterConfig& config, const std::vector<std::string>& paths);

/// The keys of PEFT's configuration that read_targets and read_modules_to_save read.
FileKeys target_keys();

/// The paths of linear layers.
std::vector<std::string> paths_of(const std::vector<model::Linear*>& linears);

/// The last parts of paths ("a.b.query" -> "query"), each once, in order: what there is to choose from, for a message.
std::vector<std::string> last_parts(const std::vector<std::string>& paths);

/// Whether PEFT's rule for lists matches a module: its path, or the path's end from a dot on.
bool matches_path(const std::string& path, const std::string& target);

}  // namespace dtrain::peft
