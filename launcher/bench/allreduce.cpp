#include <ATen/ATen.h>
#include <fmt/format.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/table.h"
#include "launcher/bench/benches.h"
#include "launcher/bench/timing.h"
#include "launcher/output_directory.h"

namespace dtrain::launcher {
namespace {

struct Collective {
  const char* name;
  std::function<void(const at::Tensor&)> run;
  /// What crosses each rank's link over the tensor's bytes, in the best algorithm (nccl-tests, doc/PERFORMANCE.md).
  double bus_share;
};

/// seconds = latency + bytes / bandwidth, Hockney's model (1994), with the least relative errors, neither negative.
struct Fit {
  double latency = 0;
  double bandwidth = 0;
};

Fit fitted(const std::vector<double>& bytes, const std::vector<double>& seconds) {
  const auto time = at::tensor(seconds, at::kDouble);
  const auto terms = at::stack({time.reciprocal(), at::tensor(bytes, at::kDouble) / time}, 1);
  const auto solution = std::get<0>(at::linalg_lstsq(terms, at::ones_like(time).unsqueeze(1)));
  const auto latency = solution[0].item<double>();
  const auto seconds_per_byte = solution[1].item<double>();
  if (latency >= 0 && seconds_per_byte > 0) return {latency, 1 / seconds_per_byte};
  // The best of those without a latency: other work on the machine hides it.
  const auto rates = terms.select(1, 1);
  return {0, (rates.square().sum() / rates.sum()).item<double>()};
}

}  // namespace

void bench_allreduce(const Options& options, const Session& session) {
  auto& gradients = session.context().gradients;
  const double ranks = gradients.size();
  const at::ScalarType type = dist::wire_type(options.training.reduce_format, at::kFloat);
  const std::vector<Collective> collectives = {
      {"all-reduce", [&](const at::Tensor& tensor) { gradients.all_reduce(tensor); }, 2 * (ranks - 1) / ranks},
      {"reduce-scatter", [&](const at::Tensor& tensor) { gradients.reduce_scatter(tensor); }, (ranks - 1) / ranks},
      {"all-gather", [&](const at::Tensor& tensor) { gradients.start_all_gather(tensor)->wait(); },
       (ranks - 1) / ranks}};
  Table table{{fmt::format("{} over {} ranks ({})", options.reduce_precision, gradients.size(), gradients.name()),
               "bytes", "min", "median", "max", "algorithm GB/s", "bus GB/s"},
              {}};
  Table fits{{"latency + bytes / bandwidth", "latency", "algorithm GB/s", "bus GB/s"}, {}};
  nlohmann::json all = nlohmann::json::array();
  for (const Collective& collective : collectives) {
    std::vector<double> sizes, medians;
    for (std::int64_t about = 4 << 10; about <= 64 << 20; about *= 4) {
      // Equal shares for any number of ranks, and of one element at least.
      const auto size = static_cast<std::int64_t>(c10::elementSize(type));
      const std::int64_t share = (about / size + gradients.size() - 1) / gradients.size();
      const std::int64_t elements = share * gradients.size();
      const std::int64_t bytes = elements * size;
      const auto tensor = at::zeros({elements}, at::TensorOptions().device(session.context().device).dtype(type));
      const Timing timing = time_of(session, options.bench_seconds, [&] { collective.run(tensor); });
      const double rate = static_cast<double>(bytes) / timing.median / 1e9;
      table.rows.push_back({collective.name, bytes_text(static_cast<double>(bytes)), duration_text(timing.least),
                            duration_text(timing.median), duration_text(timing.most), fmt::format("{:.2f}", rate),
                            fmt::format("{:.2f}", rate * collective.bus_share)});
      sizes.push_back(static_cast<double>(bytes));
      medians.push_back(timing.median);
    }
    const Fit fit = fitted(sizes, medians);
    fits.rows.push_back({collective.name, duration_text(fit.latency), fmt::format("{:.2f}", fit.bandwidth / 1e9),
                         fmt::format("{:.2f}", fit.bandwidth * collective.bus_share / 1e9)});
    all.push_back({{"collective", collective.name},
                   {"bytes", sizes},
                   {"seconds", medians},
                   {"bus_share", collective.bus_share},
                   {"latency_seconds", fit.latency},
                   {"bytes_per_second", fit.bandwidth}});
  }
  session.log().line(terminal_table(table));
  session.log().line("\n" + terminal_table(fits));
  if (options.json_file.empty()) return;
  on_first_rank(session, [&] {
    const nlohmann::json document = {{"machine", session.description()},
                                     {"ranks", gradients.size()},
                                     {"back_end", gradients.name()},
                                     {"reduce_precision", options.reduce_precision},
                                     {"collectives", all}};
    write_file_atomically(options.json_file, document.dump(2) + "\n");
  });
}

}  // namespace dtrain::launcher
