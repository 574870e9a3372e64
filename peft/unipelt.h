#pragma once

#include "peft/registry.h"

namespace dtrain::peft {

/// UniPELT (Mao et al., 2022, ACL): a prefix, Pfeiffer's adapters and LoRA, each under a gate that opens by example.
/// adapter-hub's unipelt.
MethodKind unipelt_kind();

}  // namespace dtrain::peft
