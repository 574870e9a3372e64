// A study's plan.json.

#include "launcher/plan_file.h"
#include "tests/fuzz/fuzz_target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dtrain;
  const auto path = fuzz::scratch() / "plan.json";
  fuzz::write(path, fuzz::text_of(data, size));
  fuzz::read_or_refuse([&] {
    study::StudyPlan plan;
    launcher::take_plan_file(plan, path);
    fuzz::require(!plan.methods.empty() && !plan.samples.empty() && !plan.result_seeds.empty(), "something to do");
    static_cast<void>(launcher::plan_file_json(plan).dump());
  });
  return 0;
}
