#pragma once

#include "peft/registry.h"

namespace dtrain::peft {

/// Compacter (Karimi Mahabadi et al., 2021, NeurIPS): Houlsby's adapters, whose maps are hypercomplex and of low rank.
/// adapter-hub's compacter; mh_adapter=false:original_ln_before=true is its compacter++.
MethodKind compacter_kind();

}  // namespace dtrain::peft
