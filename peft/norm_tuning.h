#pragma once

#include "peft/registry.h"

namespace dtrain::peft {

/// The layer norms train (Qi et al., 2022; Zhao et al., 2024, ICLR), and the head: PEFT's LN tuning.
MethodKind norm_kind();

}  // namespace dtrain::peft
