// What --resume compares of a finished run: the options in its config.ini, and the digests of its data in results.json.

#include "launcher/finished_run.h"
#include "tests/fuzz/fuzz_target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dtrain;
  const auto directory = fuzz::scratch() / "run";
  fuzz::unpack(fuzz::text_of(data, size), {"config.ini", "results.json"}, directory);
  fuzz::read_or_refuse<UsageError>([&] {
    launcher::check_finished_run(directory, "lr = 0.001\nmethod = lora:r=8\nood = forum=b.tsv\ntrain = a.tsv\n",
                                 {{"train", "01"}, {"ood.forum", "02"}});
  });
  return 0;
}
