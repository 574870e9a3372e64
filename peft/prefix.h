#pragma once

#include <cstdint>
#include <optional>

#include "peft/registry.h"

namespace dtrain::peft {

/// PEFT's PrefixTuningConfig; there num_virtual_tokens has no default.
struct PrefixConfig {
  std::int64_t num_virtual_tokens = 20;
  bool prefix_projection = false;
  /// Unset: the model's hidden size.
  std::optional<std::int64_t> encoder_hidden_size;
};

/// Prefix tuning (Li and Liang, 2021, ACL): keys and values of virtual tokens in every layer, which the tokens of all
/// examples attend to. They have positions, before the examples' own, and no hidden states: pooling does not see them.
MethodKind prefix_kind();

}  // namespace dtrain::peft
