#include "model/formats/torch_file.h"

#include <caffe2/serialize/inline_container.h>
#include <fmt/format.h>

#include <fstream>

#include "base/error.h"
#include "model/formats/tensor_pickle.h"

namespace dtrain::model {
namespace {

std::string record(caffe2::serialize::PyTorchStreamReader& reader, const std::string& name) {
  const auto [bytes, size] = reader.getRecord(name);
  return {static_cast<const char*>(bytes.get()), size};
}

}  // namespace

std::map<std::string, at::Tensor> read_torch_file(const std::filesystem::path& path) {
  if (!std::ifstream(path)) throw InputError(fmt::format("cannot read {}", path.string()));
  const auto refuse = [&](const std::string& found) {
    return InputError(
        fmt::format("{}: expected a dictionary of tensors that torch.save of PyTorch 1.6 or later wrote, found {}",
                    path.string(), found));
  };
  try {
    caffe2::serialize::PyTorchStreamReader reader(path.string());
    if (reader.hasRecord("byteorder") && record(reader, "byteorder") != "little")
      throw InputError("numbers of another byte order");
    return read_tensor_pickle(record(reader, "data.pkl"),
                              [&](const std::string& key) { return record(reader, "data/" + key); });
  } catch (const InputError& error) {
    throw refuse(error.what());
  } catch (const std::exception&) {  // LibTorch's, with a trace of calls
    throw refuse("something else");
  }
}

}  // namespace dtrain::model
