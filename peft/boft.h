#pragma once

#include "peft/registry.h"

namespace dtrain::peft {

/// BOFT (Liu et al., 2024, ICLR): s * (W M x) + b, where M is a product of block-wise rotations between which the
/// columns are shuffled like the butterflies of a fast Fourier transform, and s scales the outputs.
MethodKind boft_kind();

}  // namespace dtrain::peft
