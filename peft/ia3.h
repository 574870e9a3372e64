#pragma once

#include <string>
#include <vector>

#include "peft/registry.h"
#include "peft/targets.h"

namespace dtrain::peft {

/// PEFT's IA3Config.
struct Ia3Config {
  TargetModules targets;
  /// Of the targets, those whose input is scaled; {"auto"}: the maps that end a sub-layer.
  std::vector<std::string> feedforward_modules = {"auto"};
  /// Ones, so that nothing changes at first; else normal.
  bool init_ia3_weights = true;
  std::vector<std::string> modules_to_save = {};
};

/// (IA)3 (Liu et al., 2022, NeurIPS): a vector scales the output of chosen maps, y = l * (W x + b), or, of those that
/// end a sub-layer, the input, y = W (l * x) + b.
MethodKind ia3_kind();

}  // namespace dtrain::peft
