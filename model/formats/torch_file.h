#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace dtrain::model {

/// The tensors of a dictionary that Python's torch.save wrote, on the CPU. LibTorch's reader takes tensors and plain
/// values alone: no code in the file is run. Throws InputError naming the file.
std::map<std::string, at::Tensor> read_torch_file(const std::filesystem::path& path);

}  // namespace dtrain::model
