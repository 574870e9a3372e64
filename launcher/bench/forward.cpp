#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/atomic_file.h"
#include "base/table.h"
#include "launcher/bench/benches.h"
#include "launcher/bench/inputs.h"
#include "launcher/bench/timing.h"
#include "launcher/loading.h"
#include "launcher/output_directory.h"
#include "train/evaluation.h"
#include "train/peak_memory.h"

namespace dtrain::launcher {

void bench_forward(const Options& options, const Session& session) {
  const auto context = session.context();
  const data::Task task = load_task(options, session, start_of(options));
  const auto examples = bench_examples(options, task);
  const auto classifier = bench_classifier(options, task, context.device);
  const train::PeakMemory memory(*classifier, context.device);
  const Timing timing = time_of(session, options.bench_seconds, [&] { train::score(*classifier, examples, context); });
  const auto lengths = examples.lengths();
  const double samples = static_cast<double>(examples.size());
  const double tokens = std::accumulate(lengths.begin(), lengths.end(), 0.0) / samples;
  session.log().line(
      terminal_table({{fmt::format("scoring of {} examples", count_text(examples.size())), "min", "median", "max"},
                      {{"seconds", fmt::format("{:.4f}", timing.least), fmt::format("{:.4f}", timing.median),
                        fmt::format("{:.4f}", timing.most)},
                       {"samples/s", rate_text(samples / timing.most), rate_text(samples / timing.median),
                        rate_text(samples / timing.least)}}}));
  session.log().line(fmt::format("{:.1f} tokens a sample", tokens));
  if (options.json_file.empty()) return;
  on_first_rank(session, [&] {
    const nlohmann::json document = {{"machine", session.description()},
                                     {"threads", session.threads()},
                                     {"examples", examples.size()},
                                     {"tokens_per_sample", tokens},
                                     {"least_seconds", timing.least},
                                     {"median_seconds", timing.median},
                                     {"samples_per_second", samples / timing.median},
                                     {"peak_memory_bytes", memory.bytes()}};
    write_file_atomically(options.json_file, document.dump(2) + "\n");
  });
}

}  // namespace dtrain::launcher
