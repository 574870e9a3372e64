#pragma once

#include "peft/registry.h"

namespace dtrain::peft {

/// FourierFT (Gao et al., 2024, ICML): the weight's change is the real part of the inverse Fourier transform of a
/// matrix that is zero but for n_frequency trained numbers at random places, the same in maps of the same size.
MethodKind fourierft_kind();

}  // namespace dtrain::peft
