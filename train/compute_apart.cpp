#include "train/compute_apart.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <exception>
#include <string>

#include "base/error.h"
#include "train/out_of_memory.h"

namespace dtrain::train {

void compute_apart(const RunContext& context, const std::function<void()>& compute) {
  bool stopped = false;
  std::string lack;
  try {
    compute();
  } catch (const Stopped&) {
    stopped = true;
  } catch (const std::exception& error) {
    lack = lack_of_memory(error, context.memory_advice).value_or("");
    if (lack.empty()) throw;
  }
  const auto agreed = at::tensor({stopped ? 1 : 0, lack.empty() ? 0 : 1}, at::kInt);
  context.control.all_reduce(agreed);
  if (agreed[1].item<int>() > 0) throw_out_of_memory(lack, context);
  if (agreed[0].item<int>() > 0) throw Stopped(fmt::format("{} outside of a training step", stop_text(context)));
}

}  // namespace dtrain::train
