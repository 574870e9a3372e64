#pragma once

#include "peft/registry.h"

namespace dtrain::peft {

/// VeRA (Kopiczko et al., 2024, ICLR): W x + b * (B (d * (A dropout(x)))), where all maps share the frozen random A and
/// B and each has its own vectors b [out], zero at first, and d [r].
MethodKind vera_kind();

}  // namespace dtrain::peft
