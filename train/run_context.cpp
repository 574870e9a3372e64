#include "train/run_context.h"

#include <ATen/ATen.h>

namespace dtrain::train {

double sum_over_ranks(double value, const RunContext& context) {
  const auto sum = at::tensor({value}, at::kDouble);
  context.control.all_reduce(sum);
  return sum.item<double>();
}

}  // namespace dtrain::train
