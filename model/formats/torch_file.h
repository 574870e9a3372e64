#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace dtrain::model {

/// The tensors of a dictionary that Python's torch.save wrote, a state_dict() or a plain one, on the CPU. Tensors alone
/// are read, no code in the file is run (tensor_pickle.h). Throws InputError naming the file.
std::map<std::string, at::Tensor> read_torch_file(const std::filesystem::path& path);

}  // namespace dtrain::model
