#pragma once

#include <cstdint>
#include <string>

#include "peft/method_kind.h"

namespace dtrain::peft {

/// PEFT's PromptTuningConfig; there num_virtual_tokens has no default.
struct PromptConfig {
  std::int64_t num_virtual_tokens = 20;
  /// RANDOM: normal numbers; SAMPLE_VOCAB: words of the model's vocabulary; TEXT: those of a text.
  std::string prompt_tuning_init = "RANDOM";
  std::string prompt_tuning_init_text;
  /// A directory with the tokenizer of that text.
  std::string tokenizer_name_or_path;
};

}  // namespace dtrain::peft
