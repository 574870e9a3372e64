// A checkpoint's directory, and the log of the run beside it.

#include <ATen/ATen.h>

#include "base/log.h"
#include "tests/fuzz/fuzz_target.h"
#include "train/checkpoint.h"
#include "train/step_log.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dtrain;
  const auto directory = fuzz::scratch() / "checkpoint";
  fuzz::unpack(
      fuzz::text_of(data, size),
      {"step-1/state.json", "step-1/state.safetensors", "step-2/state.json", "step-2/state.safetensors", "log.jsonl"},
      directory);
  fuzz::read_or_refuse<UsageError>([&] {
    const auto checkpoint = train::read_checkpoint(directory, {}, Log());
    if (!checkpoint) return;
    fuzz::require(checkpoint->step >= 0 && checkpoint->best_step <= checkpoint->step, "steps in their order");
    fuzz::require(checkpoint->values.numel() == checkpoint->second_moments.numel(), "as many moments as values");
  });
  fuzz::read_or_refuse([&] { train::StepLog log(directory / "log.jsonl", 3); });
  return 0;
}
