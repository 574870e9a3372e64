// A config.ini, as options of `train`.

#include <array>

#include "launcher/config_file.h"
#include "launcher/options.h"
#include "tests/fuzz/fuzz_target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dtrain;
  const std::string path = (fuzz::scratch() / "config.ini").string();
  fuzz::write(path, fuzz::text_of(data, size));
  const std::array arguments = {"dtrain", "train", "--config", path.c_str()};
  fuzz::read_or_refuse<UsageError>(
      [&] { launcher::parse_options(static_cast<int>(arguments.size()), arguments.data()); });
  return 0;
}
