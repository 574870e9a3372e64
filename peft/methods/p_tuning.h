#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "peft/method_kind.h"

namespace dtrain::peft {

/// PEFT's PromptEncoderConfig; there num_virtual_tokens has no default.
struct PTuningConfig {
  std::int64_t num_virtual_tokens = 20;
  /// "MLP" or "LSTM"; "none" for an adapter that was read, since PEFT's file holds the prompt that came out.
  std::string encoder_reparameterization_type = "MLP";
  /// Unset: the model's hidden size.
  std::optional<std::int64_t> encoder_hidden_size;
  /// Of the LSTM.
  std::int64_t encoder_num_layers = 2;
  /// Between the layers of the LSTM.
  double encoder_dropout = 0;
};

}  // namespace dtrain::peft
