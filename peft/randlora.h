#pragma once

#include "peft/registry.h"

namespace dtrain::peft {

/// RandLoRA (Albert et al., 2025, ICLR): the weight's change is a sum of so many frozen random products of rank r that
/// it can have full rank. All maps share the random matrices; each trains how much of every direction it takes.
MethodKind randlora_kind();

}  // namespace dtrain::peft
