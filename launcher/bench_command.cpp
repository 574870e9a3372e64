#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/nearest_name.h"
#include "launcher/bench/benches.h"
#include "launcher/commands.h"

namespace dtrain::launcher {
namespace {

struct Bench {
  const char* name;
  void (*run)(const Options&, const Session&);
};
constexpr Bench kBenches[] = {{"gemm", bench_gemm},           {"step", bench_step}, {"forward", bench_forward},
                              {"allreduce", bench_allreduce}, {"norm", bench_norm}, {"scaling", bench_scaling}};

}  // namespace

void run_bench(const Options& options, const Session& session) {
  std::vector<std::string> kinds;
  for (const Bench& bench : kBenches) kinds.emplace_back(bench.name);
  const std::string wanted = options.targets.size() == 1 ? options.targets[0] : "";
  const auto* bench =
      std::find_if(std::begin(kBenches), std::end(kBenches), [&](const Bench& each) { return each.name == wanted; });
  if (bench == std::end(kBenches)) {
    throw UsageError(fmt::format("bench: expected one of {}{}", fmt::join(kinds, ", "),
                                 options.targets.empty() ? "" : did_you_mean(options.targets[0], kinds)));
  }
  session.log().line(session.description());
  bench->run(options, session);
}

}  // namespace dtrain::launcher
