#pragma once

#include "peft/registry.h"

namespace dtrain::peft {

/// Householder reflection adaptation (Yuan et al., 2024, NeurIPS), as PEFT computes it: W H_1 ... H_r x + b, where
/// H_i = I - 2 u_i u_i' reflects the input along a vector of length 1. With apply_GS the vectors are made orthogonal
/// first. Without, it starts from pairs of equal vectors, which cancel.
MethodKind hra_kind();

}  // namespace dtrain::peft
