// A safetensors file: the input as it is, or, behind a line end, a header, another line end and data.

#include <ATen/ATen.h>

#include "model/formats/safetensors.h"
#include "tests/fuzz/fuzz_target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dtrain;
  const auto input = fuzz::text_of(data, size);
  const auto path = fuzz::scratch() / "a.safetensors";
  fuzz::write(path, input.starts_with('\n') ? fuzz::with_header_length(input.substr(1)) : std::string(input));
  fuzz::read_or_refuse([&] {
    const model::SafetensorsFile file(path);
    std::size_t bytes = 0;
    for (const auto& name : file.names()) bytes += file.tensor(name).nbytes();
    fuzz::require(bytes <= size, "no more numbers than the file has");
  });
  return 0;
}
