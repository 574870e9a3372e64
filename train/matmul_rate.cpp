#include "train/matmul_rate.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

namespace dtrain::train {
namespace {

constexpr double kSecondsOfSize = 0.06;
constexpr std::int64_t kTokensOfExample = 18;  // as bench gemm has it: the embedded task's
constexpr int kMostOfTurn = 20;

double rate_of(std::int64_t m, std::int64_t k, std::int64_t n, const RunContext& context) {
  using Clock = std::chrono::steady_clock;
  const auto options = at::TensorOptions().device(context.device);
  const auto left = at::randn({m, k}, options).to(context.matmul_type);
  const auto right = at::randn({n, k}, options).to(context.matmul_type);
  // A GPU works on while the host goes on: it is asked for a number after several.
  const int turn = context.device.is_cpu() ? 1 : kMostOfTurn;
  const auto seconds_of_turn = [&] {
    const auto begin = Clock::now();
    at::Tensor result;
    for (int i = 0; i < turn; ++i) result = at::mm(left, right.t());
    result[0][0].item<float>();
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  seconds_of_turn();
  double best = seconds_of_turn();
  for (const auto begin = Clock::now(); std::chrono::duration<double>(Clock::now() - begin).count() < kSecondsOfSize;)
    best = std::min(best, seconds_of_turn());
  return 2.0 * static_cast<double>(m) * static_cast<double>(k) * static_cast<double>(n) * turn / best;
}

}  // namespace

double measure_matmul_rate(const model::EncoderConfig& config, std::int64_t batch_size, const RunContext& context) {
  const at::NoGradGuard no_grad;
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t wide = config.intermediate_size;
  context.control.barrier();
  double best = 0;
  for (const auto& [k, n] : {std::pair{hidden, hidden}, std::pair{hidden, wide}, std::pair{wide, hidden}})
    best = std::max(best, rate_of(std::max<std::int64_t>(1, batch_size * kTokensOfExample), k, n, context));
  return sum_over_ranks(best, context) / context.control.size();
}

double rate_share(double flop, double seconds, const RunContext& context) {
  if (context.matmul_rate <= 0) return std::numeric_limits<double>::quiet_NaN();
  return flop / (seconds * context.matmul_rate * context.control.size());
}

}  // namespace dtrain::train
