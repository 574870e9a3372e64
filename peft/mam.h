#pragma once

#include "peft/registry.h"

namespace dtrain::peft {

/// Mix-and-match adapters (He et al., 2022, ICLR): a prefix, and adapters beside the feed-forward networks.
/// adapter-hub's mam.
MethodKind mam_kind();

}  // namespace dtrain::peft
