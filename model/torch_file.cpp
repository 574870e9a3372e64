#include "model/torch_file.h"

#include <ATen/core/ivalue.h>
#include <fmt/format.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include "base/atomic_file.h"
#include "base/error.h"

namespace dtrain::model {

std::map<std::string, at::Tensor> read_torch_file(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  c10::IValue content;
  try {
    content = torch::jit::pickle_load(std::vector<char>(bytes.begin(), bytes.end()));
  } catch (const std::exception&) {
    throw InputError(fmt::format("{}: expected tensors that torch.save wrote, found something else", path.string()));
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
