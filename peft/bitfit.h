#pragma once

#include "peft/registry.h"

namespace dtrain::peft {

/// BitFit (Ben Zaken et al., 2022, ACL): every bias of the model trains, those of the norms among them, and the head.
MethodKind bitfit_kind();

}  // namespace dtrain::peft
