#include <fmt/format.h>

#include <algorithm>

#include "base/table.h"
#include "launcher/attach_context.h"
#include "launcher/bench/benches.h"
#include "launcher/bench/inputs.h"
#include "launcher/bench/timing.h"
#include "launcher/loading.h"
#include "peft/registry.h"
#include "train/flat_parameters.h"
#include "train/optimizer.h"
#include "train/training_step.h"

namespace dtrain::launcher {

void bench_step(const Options& options, const Session& session) {
  const auto context = session.context();
  const data::Task task = load_task(options, session, start_of(options));
  const auto examples = bench_examples(options, task);
  const auto classifier = bench_classifier(options, task, context.device);
  const train::TrainOptions training = training_options(options, task);
  peft::make_method(training.method)->attach(*classifier, attach_context(training.seed));
  auto parameters = train::flatten(*classifier);
  train::FeatureStore features(cache_memory(options, session));
  train::TrainingStep step(*classifier, parameters, training, examples, context, features);
  train::AdamW optimizer(parameters, training, step.sharding(), &step.gather());
  const std::int64_t epoch = step.steps_per_epoch();
  // So that the first step that is timed is the first of an epoch.
  const std::int64_t first = (kWarmUpRepeats + epoch - 1) / epoch * epoch;
  std::int64_t position = first - kWarmUpRepeats;
  std::int64_t tokens = 0;
  std::int64_t samples = 0;
  const Timing timing = time_of(
      session, options.bench_seconds,
      [&] {
        const auto outcome = step.run(position);
        optimizer.step(1e-5);
        if (position++ < first) return;
        tokens += outcome.tokens;
        samples += outcome.examples;
      },
      options.whole_epochs ? epoch : 1);
  const double per_step = static_cast<double>(samples) / static_cast<double>(timing.repeats);
  session.log().line(
      terminal_table({{"step of " + options.training.method.text(), "min", "median", "max", "mean"},
                      {{"seconds", fmt::format("{:.4f}", timing.least), fmt::format("{:.4f}", timing.median),
                        fmt::format("{:.4f}", timing.most), fmt::format("{:.4f}", timing.mean)},
                       {"samples/s", rate_text(per_step / timing.most), rate_text(per_step / timing.median),
                        rate_text(per_step / timing.least), rate_text(per_step / timing.mean)}}}));
  session.log().line(fmt::format("{} steps, {:.1f} samples a step, {:.1f} tokens a sample, {} all-reduced a step",
                                 count_text(timing.repeats), per_step,
                                 static_cast<double>(tokens) / static_cast<double>(samples),
                                 bytes_text(static_cast<double>(step.allreduce_bytes()))));
}

}  // namespace dtrain::launcher
