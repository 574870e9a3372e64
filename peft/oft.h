#pragma once

#include "peft/registry.h"

namespace dtrain::peft {

/// OFT (Qiu et al., 2023, NeurIPS), as PEFT computes it (OFTv2: Qiu et al., 2025, EMNLP): W R x + b, where R rotates
/// the input block by block. R is Cayley's map of skew-symmetric matrices, or the first terms of its Neumann series,
/// which PEFT takes of the matrices with the opposite sign.
MethodKind oft_kind();

}  // namespace dtrain::peft
