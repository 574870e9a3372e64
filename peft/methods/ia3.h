#pragma once

#include <string>
#include <vector>

#include "peft/method_kind.h"
#include "peft/parts/targets.h"

namespace dtrain::peft {

/// PEFT's IA3Config.
struct Ia3Config {
  TargetModules targets;
  /// Of the targets, those whose input is scaled; {"auto"}: the linear layers that end a sub-layer.
  std::vector<std::string> feedforward_modules = {"auto"};
  /// Ones, so that nothing changes at first; else normal.
  bool init_ia3_weights = true;
  std::vector<std::string> modules_to_save = {};
};

}  // namespace dtrain::peft
