#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "base/error.h"
#include "base/nearest_name.h"
#include "base/table.h"
#include "launcher/commands.h"
#include "launcher/loading.h"
#include "model/formats/classifier_files.h"
#include "peft/registry.h"
#include "train/attach_context.h"
#include "train/flat_parameters.h"
#include "train/optimizer.h"
#include "train/training_step.h"

namespace dtrain::launcher {
namespace {

struct Timing {
  double least = 0;
  double median = 0;
  double most = 0;
};

// A quarter of a second of warm-up, then repeats of about two seconds in all.
Timing time_of(const Session& session, const std::function<void()>& action) {
  using Clock = std::chrono::steady_clock;
  const auto once = [&] {
    const auto begin = Clock::now();
    action();
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  once();
  const double first = once();
  // Every rank repeats as often.
  const auto repeats = at::tensor({std::clamp<std::int64_t>(static_cast<std::int64_t>(2 / first), 5, 200)}, at::kLong);
  session.control().broadcast(repeats, 0);
  std::vector<double> seconds;
  for (std::int64_t i = 0; i < repeats.item<std::int64_t>(); ++i) seconds.push_back(once());
  std::sort(seconds.begin(), seconds.end());
  return {seconds.front(), seconds[seconds.size() / 2], seconds.back()};
}

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
    const Timing timing = time_of(session, [&] {
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

void bench_step(const Options& options, const Session& session) {
  const auto context = session.context();
  const data::Task task = load_task(options, session, start_of(options));
  const auto counts = sample_counts(options);
  const auto examples = training_examples(
      task, counts.empty() ? std::min<std::int64_t>(task.train.size(), 3200) : counts[0], options.subset_seed);
  auto classifier = model::load_classifier({.directory = model_directory(options),
                                            .pooling = pooling_option(options),
                                            .classes = task.labels.size(),
                                            .head_seed = options.training.seed,
                                            .problem_type = task.problem_type,
                                            .device = context.device});
  const train::TrainOptions training = training_options(options, task);
  peft::make_method(training.method)->attach(*classifier, train::attach_context(training.seed));
  auto parameters = train::flatten(*classifier);
  train::FeatureStore features(cache_memory(options, session));
  train::TrainingStep step(*classifier, parameters, training, examples, context, features);
  train::AdamW optimizer(parameters, training, step.sharding());
  std::int64_t position = 0;
  std::int64_t tokens = 0;
  std::int64_t samples = 0;
  const Timing timing = time_of(session, [&] {
    const auto outcome = step.run(position++);
    optimizer.step(1e-5);
    tokens += outcome.tokens;
    samples += outcome.examples;
  });
  const double per_step = static_cast<double>(samples) / static_cast<double>(position);
  session.log().line(terminal_table(
      {{"step of " + options.training.method.text(), "min", "median", "max"},
       {{"seconds", fmt::format("{:.4f}", timing.least), fmt::format("{:.4f}", timing.median),
         fmt::format("{:.4f}", timing.most)},
        {"samples/s", fmt::format("{:.4g}", per_step / timing.most), fmt::format("{:.4g}", per_step / timing.median),
         fmt::format("{:.4g}", per_step / timing.least)}}}));
  session.log().line(fmt::format("{:.1f} tokens a sample, {} all-reduced a step",
                                 static_cast<double>(tokens) / static_cast<double>(samples),
                                 bytes_text(static_cast<double>(step.allreduce_bytes()))));
}

// All-reduce, and what a sharded optimiser has in its place: reduce-scatter and all-gather, both in place.
void bench_allreduce(const Session& session) {
  auto& gradients = session.context().gradients;
  Table table{
      {fmt::format("over {} ranks ({})", gradients.size(), gradients.name()), "bytes", "min", "median", "max", "GB/s"},
      {}};
  const std::vector<std::pair<const char*, std::function<void(const at::Tensor&)>>> collectives = {
      {"all-reduce", [&](const at::Tensor& tensor) { gradients.all_reduce(tensor); }},
      {"reduce-scatter", [&](const at::Tensor& tensor) { gradients.reduce_scatter(tensor); }},
      {"all-gather", [&](const at::Tensor& tensor) { gradients.start_all_gather(tensor)->wait(); }}};
  for (const auto& [name, collective] : collectives) {
    for (const std::int64_t bytes : {4L << 10, 64L << 10, 1L << 20, 16L << 20, 64L << 20}) {
      // Equal shares for any number of ranks.
      const std::int64_t elements = bytes / 4 / gradients.size() * gradients.size();
      const auto tensor = at::zeros({elements}, at::TensorOptions().device(session.context().device));
      const Timing timing = time_of(session, [&, &run = collective] { run(tensor); });
      table.rows.push_back({name, bytes_text(static_cast<double>(bytes)), duration_text(timing.least),
                            duration_text(timing.median), duration_text(timing.most),
                            fmt::format("{:.2f}", static_cast<double>(bytes) / timing.median / 1e9)});
    }
  }
  session.log().line(terminal_table(table));
}

}  // namespace

void run_bench(const Options& options, const Session& session) {
  const std::vector<std::string> kinds = {"gemm", "step", "allreduce"};
  if (options.targets.size() != 1 || std::find(kinds.begin(), kinds.end(), options.targets[0]) == kinds.end()) {
    throw UsageError(fmt::format("bench: expected gemm, step or allreduce{}",
                                 options.targets.empty() ? "" : did_you_mean(options.targets[0], kinds)));
  }
  session.log().line(session.description());
  if (options.targets[0] == "gemm") bench_gemm(options, session);
  if (options.targets[0] == "step") bench_step(options, session);
  if (options.targets[0] == "allreduce") bench_allreduce(session);
}

}  // namespace dtrain::launcher
