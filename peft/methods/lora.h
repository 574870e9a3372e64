#pragma once

#include <string>

#include "peft/method_kind.h"
#include "peft/parts/linear_method.h"
#include "peft/parts/lora_slot.h"
#include "peft/parts/patterns.h"

namespace dtrain::peft {

/// PEFT's LoraConfig: names and defaults as there, but for target_modules, which PEFT takes from a table by
/// architecture.
struct LoraConfig {
  /// Whose alpha is lora_alpha.
  Ranks ranks;
  double lora_dropout = 0;
  /// The update is scaled by lora_alpha / sqrt(r), not lora_alpha / r (Kalajdzievski, 2023, arXiv:2312.03732).
  bool use_rslora = false;
  bool use_dora = false;
  /// LoraUpdate::init.
  std::string init_lora_weights = "true";
  bool lora_bias = false;
  /// LoRA+ (Hayou et al., 2024, ICML): what B, biases and other vectors learn faster by. Not in PEFT's configuration
  /// but a parameter of its create_loraplus_optimizer.
  double loraplus_lr_ratio = 1;
  Wrapping wrapping;
};

/// What `config` adds to a linear layer of that path.
LoraUpdate lora_update(const LoraConfig& config, const std::string& path);

}  // namespace dtrain::peft
