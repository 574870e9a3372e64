#include "model/formats/torch_file.h"

#include <ATen/core/ivalue.h>
#include <caffe2/serialize/inline_container.h>
#include <fmt/format.h>
#include <torch/csrc/jit/serialization/import_read.h>

#include <fstream>

#include "base/error.h"

namespace dtrain::model {

std::map<std::string, at::Tensor> read_torch_file(const std::filesystem::path& path) {
  if (!std::ifstream(path)) throw InputError(fmt::format("cannot read {}", path.string()));
  c10::IValue content;
  try {
    // From the file and not by torch::jit::pickle_load, which reads beyond the bytes of a torn one.
    caffe2::serialize::PyTorchStreamReader reader(path.string());
    content = torch::jit::readArchiveAndTensors("data", "", "", std::nullopt, std::nullopt, at::kCPU, reader);
  } catch (const std::exception&) {
    throw InputError(fmt::format(
        "{}: expected tensors that torch.save of PyTorch 1.6 or later wrote, found something else", path.string()));
  }
  if (!content.isGenericDict()) {
    throw InputError(fmt::format("{}: expected a dictionary of tensors, found {}", path.string(), content.tagKind()));
  }
  std::map<std::string, at::Tensor> tensors;
  for (const auto& entry : content.toGenericDict()) {
    if (!entry.key().isString() || !entry.value().isTensor()) {
      throw InputError(fmt::format("{}: expected tensors by their names, found {} by {}", path.string(),
                                   entry.value().tagKind(), entry.key().tagKind()));
    }
    tensors[entry.key().toStringRef()] = entry.value().toTensor().cpu();
  }
  return tensors;
}

}  // namespace dtrain::model
