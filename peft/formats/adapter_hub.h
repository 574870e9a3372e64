#pragma once

#include "peft/formats/adapter_files.h"

namespace dtrain::peft {

/// adapter-hub's (the Python package `adapters`): adapter_config.json and adapter.safetensors, head_config.json and
/// model_head.safetensors, or torch.save's .bin in place of .safetensors. Python reads it by
/// `adapters.init(model); model.load_adapter(directory, set_active=True, use_safetensors=True)`.
AdapterLayout adapter_hub_layout();

}  // namespace dtrain::peft
