#pragma once

#include "peft/registry.h"

namespace dtrain::peft {

/// LoHa (Hyeon-Woo et al., 2022, ICLR; as in LyCORIS): W x + (alpha / r) ((A1 B1) * (A2 B2)) x, with A1, A2 [out, r],
/// B1, B2 [r, in] and the product of the two matrices taken element by element, so that its rank is up to r squared.
MethodKind loha_kind();

}  // namespace dtrain::peft
