#pragma once

#include "peft/registry.h"

namespace dtrain::peft {

/// LoKr (Yeh et al., 2024, ICLR; Edalati et al., 2022, as KronA): W x + (alpha / r) (W1 kron W2) x, where the two
/// matrices, of the sizes that divide the map's most evenly, may in turn be products of low rank.
MethodKind lokr_kind();

}  // namespace dtrain::peft
