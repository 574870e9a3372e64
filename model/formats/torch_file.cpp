#include "model/formats/torch_file.h"

#include <caffe2/serialize/inline_container.h>
#include <fmt/format.h>

#include <fstream>
#include <system_error>

#include "base/error.h"
#include "base/listing.h"
#include "model/formats/tensor_pickle.h"

namespace dtrain::model {
namespace {

// The records of an archive. torch.save packs none, so that what is read is never larger than the file: an archive that
// says otherwise would be unpacked to any size.
class Records {
 public:
  explicit Records(const std::filesystem::path& path)
      : reader_(path.string()), left_(std::filesystem::file_size(path)) {}

  bool has(const std::string& name) { return reader_.hasRecord(name); }
  std::string read(const std::string& name) {
    const std::size_t size = reader_.getRecordSize(name);
    if (size > left_) throw InputError(fmt::format("records that are larger than the file ('{}')", shown_text(name)));
    left_ -= size;
    const auto [bytes, read] = reader_.getRecord(name);
    return {static_cast<const char*>(bytes.get()), read};
  }

 private:
  caffe2::serialize::PyTorchStreamReader reader_;
  std::uintmax_t left_;
};

}  // namespace

std::map<std::string, at::Tensor> read_torch_file(const std::filesystem::path& path) {
  std::error_code error_code;
  if (!std::filesystem::is_regular_file(path, error_code) || !std::ifstream(path))
    throw InputError(fmt::format("cannot read {}", path.string()));
  const auto refuse = [&](const std::string& found) {
    return InputError(
        fmt::format("{}: expected a dictionary of tensors that torch.save of PyTorch 1.6 or later wrote, found {}",
                    path.string(), found));
  };
  try {
    Records records(path);
    if (records.has("byteorder") && records.read("byteorder") != "little")
      throw InputError("numbers of another byte order");
    return read_tensor_pickle(records.read("data.pkl"),
                              [&](const std::string& key) { return records.read("data/" + key); });
  } catch (const InputError& error) {
    throw refuse(error.what());
  } catch (const std::exception&) {  // LibTorch's, with a trace of calls
    throw refuse("something else");
  }
}

}  // namespace dtrain::model
