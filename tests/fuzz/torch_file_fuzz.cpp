// The archive that torch.save writes.

#include <ATen/ATen.h>

#include "model/formats/torch_file.h"
#include "tests/fuzz/fuzz_target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dtrain;
  const auto path = fuzz::scratch() / "pytorch_model.bin";
  fuzz::write(path, fuzz::text_of(data, size));
  fuzz::read_or_refuse([&] { model::read_torch_file(path); });
  return 0;
}
