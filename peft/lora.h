#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "peft/registry.h"

namespace dtrain::peft {

/// PEFT's LoraConfig: names and defaults as there, but for target_modules, which PEFT takes from a table by
/// architecture (query and value for BERT).
struct LoraConfig {
  std::int64_t r = 8;
  double lora_alpha = 8;
  double lora_dropout = 0;
  /// Module names or their ends; {"all-linear"}: every linear map of the encoder.
  std::vector<std::string> target_modules = {"query", "value"};
  /// "none", "all" or "lora_only": which biases of the model train along.
  std::string bias = "none";
};

/// LoRA (Hu et al., 2022, ICLR): W x + (lora_alpha / r) B A dropout(x), with A [r, in] and B [out, r], B zero at first.
MethodKind lora_kind();

/// For an adapter's own configuration file.
std::unique_ptr<Method> make_lora(const LoraConfig& config);

}  // namespace dtrain::peft
