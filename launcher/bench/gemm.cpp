#include <ATen/ATen.h>
#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/table.h"
#include "launcher/bench/benches.h"
#include "launcher/bench/timing.h"
#include "launcher/loading.h"
#include "model/encoder_config.h"

namespace dtrain::launcher {

void bench_gemm(const Options& options, const Session& session) {
  Table table{{"matmul [m, k] x [k, n]", "GFLOP/s min", "median", "max"}, {}};
  const auto context = session.context();
  const auto type = context.matmul_type;
  const auto config = model::read_encoder_config(model_directory(options));
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t wide = config.intermediate_size;
  const std::int64_t tokens = 18 * options.training.batch_size;
  for (const auto& [k, n] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {hidden, hidden}, {hidden, wide}, {wide, hidden}, {hidden, 8}}) {
    const auto left = at::randn({tokens, k}, at::TensorOptions().device(context.device)).to(type);
    const auto right = at::randn({n, k}, at::TensorOptions().device(context.device)).to(type);
    at::Tensor out;
    const Timing timing = time_of(session, options.bench_seconds, [&] {
      out = at::mm(left, right.t());
      if (!context.device.is_cpu()) out[0][0].item<float>();
    });
    const double flops = 2.0 * static_cast<double>(tokens * k * n) / 1e9;
    table.rows.push_back({fmt::format("[{}, {}] x [{}, {}]", tokens, k, k, n),
                          fmt::format("{:.0f}", flops / timing.most), fmt::format("{:.0f}", flops / timing.median),
                          fmt::format("{:.0f}", flops / timing.least)});
  }
  session.log().line(terminal_table(table));
}

}  // namespace dtrain::launcher
