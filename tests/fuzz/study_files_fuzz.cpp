// The directory of somebody else's study, and the page that is made of it.

#include "launcher/study_files.h"
#include "tests/fuzz/fuzz_target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dtrain;
  const auto directory = fuzz::scratch() / "study";
  fuzz::unpack(fuzz::text_of(data, size), {"journal.jsonl", "study.json", "diagnose.json"}, directory);
  fuzz::read_or_refuse([&] { static_cast<void>(launcher::begun_text(directory)); });
  fuzz::read_or_refuse([&] {
    const std::string page = launcher::page_text({launcher::read_study(directory, Log())}, {directory}, Log());
    for (const char* element : {"<script", "<iframe", "<img", "<link"})
      fuzz::require(page.find(element) == page.npos, "a page without scripts that needs no network");
  });
  return 0;
}
