#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace dtrain::peft {

/// The name that PEFT's own files have for a tensor that was saved under another, as when the model was wrapped or its
/// state_dict was written without PEFT's save_pretrained: without "module." (DistributedDataParallel), "_orig_mod."
/// (torch.compile) and "_fsdp_wrapped_module.", with "base_model.model." once, and without the adapter's name
/// ("lora_A.default.weight", "classifier.modules_to_save.default.weight").
std::string peft_name(const std::string& name);

/// The tensors of `file` under PEFT's names. PEFT's copies of what a module was before ("original_module") are left
/// out. `notices` gets a sentence where a name was another. Throws InputError where two different tensors come to one
/// name.
std::map<std::string, at::Tensor> under_peft_names(const std::map<std::string, at::Tensor>& tensors,
                                                   const std::filesystem::path& file,
                                                   std::vector<std::string>& notices);

}  // namespace dtrain::peft
