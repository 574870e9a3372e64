#pragma once

#include <cstdint>
#include <optional>

#include "peft/method_kind.h"

namespace dtrain::peft {

/// PEFT's PrefixTuningConfig; there num_virtual_tokens has no default.
struct PrefixConfig {
  std::int64_t num_virtual_tokens = 20;
  bool prefix_projection = false;
  /// Unset: the model's hidden size.
  std::optional<std::int64_t> encoder_hidden_size;
};

}  // namespace dtrain::peft
