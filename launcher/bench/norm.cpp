#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/atomic_file.h"
#include "base/log.h"
#include "base/table.h"
#include "launcher/bench/benches.h"
#include "launcher/bench/timing.h"
#include "launcher/output_directory.h"
#include "model/sums.h"

namespace dtrain::launcher {
namespace {

struct NormKind {
  const char* name;
  std::function<double(const at::Tensor&)> of;
};

// In double throughout, a block at a time: no second copy of all.
double reference_norm(const at::Tensor& values) {
  constexpr std::int64_t kBlock = 1 << 20;
  double squares = 0;
  for (std::int64_t begin = 0; begin < values.numel(); begin += kBlock) {
    const auto block = values.narrow(0, begin, std::min(kBlock, values.numel() - begin)).to(at::kDouble);
    squares += block.square().sum().item<double>();
  }
  return std::sqrt(squares);
}

}  // namespace

void bench_norm(const Options& options, const Session& session) {
  const auto device = session.context().device;
  const auto values = at::randn({options.norm_parameters}, at::TensorOptions().device(device));
  const double exact = reference_norm(values);
  std::vector<NormKind> kinds = {
      {"LibTorch", [](const at::Tensor& of) { return at::linalg_vector_norm(of).item<double>(); }}};
  // A GPU sums as a tree: training takes LibTorch's norm there.
  if (device.is_cpu()) kinds.insert(kinds.begin(), NormKind{"dtrain", model::euclidean_norm});
  Table table{
      {fmt::format("norm of {} floats", count_text(values.numel())), "ms min", "median", "max", "relative error"}, {}};
  nlohmann::json all = nlohmann::json::array();
  for (const NormKind& kind : kinds) {
    double norm = 0;
    const Timing timing = time_of(session, options.bench_seconds, [&] { norm = kind.of(values); });
    const double error = norm / exact - 1;
    table.rows.push_back({kind.name, rate_text(timing.least * 1e3), rate_text(timing.median * 1e3),
                          rate_text(timing.most * 1e3), fmt::format("{:.1e}", error)});
    all.push_back({{"norm", kind.name},
                   {"least_seconds", timing.least},
                   {"median_seconds", timing.median},
                   {"relative_error", error}});
  }
  session.log().line(terminal_table(table));
  if (options.json_file.empty()) return;
  on_first_rank(session, [&] {
    const nlohmann::json document = {{"machine", session.description()},
                                     {"threads", session.threads()},
                                     {"parameters", values.numel()},
                                     {"norms", all}};
    write_file_atomically(options.json_file, document.dump(2) + "\n");
  });
}

}  // namespace dtrain::launcher
