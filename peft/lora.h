#pragma once

#include <string>

#include "peft/linear_method.h"
#include "peft/lora_slot.h"
#include "peft/patterns.h"
#include "peft/registry.h"

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

/// LoRA (Hu et al., 2022, ICLR): W x + (lora_alpha / r) B A dropout(x), with A [r, in] and B [out, r], B zero at first.
MethodKind lora_kind();

/// What `config` adds to a map of that path.
LoraUpdate lora_update(const LoraConfig& config, const std::string& path);

}  // namespace dtrain::peft
