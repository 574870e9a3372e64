// The file of --class-weights, for two labels.

#include "launcher/class_weights.h"
#include "tests/fuzz/fuzz_target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dtrain;
  static const data::LabelMap labels{std::vector<std::string>{"ham", "spam"}};
  const auto path = fuzz::scratch() / "weights.json";
  fuzz::write(path, fuzz::text_of(data, size));
  fuzz::read_or_refuse([&] {
    const auto weights = launcher::read_class_weights(path, labels);
    fuzz::require(weights.size() == 2, "a number a label");
  });
  return 0;
}
