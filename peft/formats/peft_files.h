#pragma once

#include "peft/formats/adapter_files.h"

namespace dtrain::peft {

/// Hugging Face PEFT's: adapter_config.json and adapter_model.safetensors, the head's tensors among the adapter's.
AdapterLayout peft_layout();

}  // namespace dtrain::peft
