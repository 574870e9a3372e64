// The program of a torch .bin file, over storages of 64 bytes.

#include <ATen/ATen.h>

#include "model/formats/tensor_pickle.h"
#include "tests/fuzz/fuzz_target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dtrain;
  std::size_t storages = 0;
  fuzz::read_or_refuse([&] {
    const auto tensors = model::read_tensor_pickle(fuzz::text_of(data, size), [&](const std::string&) {
      ++storages;
      return std::string(64, '\x3f');
    });
    std::size_t bytes = 0;
    for (const auto& [name, tensor] : tensors) bytes += tensor.nbytes();
    fuzz::require(bytes <= 8 * 64 * storages, "tensors within what the storages bound");
  });
  return 0;
}
