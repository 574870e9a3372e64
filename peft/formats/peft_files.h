#pragma once

#include "base/file_keys.h"
#include "peft/formats/adapter_files.h"

namespace dtrain::peft {

/// Hugging Face PEFT's: adapter_config.json and adapter_model.safetensors, the head's tensors among the adapter's.
AdapterLayout peft_layout();

/// Keys that PEFT's configuration has for every method.
const FileKeys& common_peft_keys();

}  // namespace dtrain::peft
