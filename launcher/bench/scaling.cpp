#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/seconds.h"
#include "base/table.h"
#include "launcher/attach_context.h"
#include "launcher/bench/benches.h"
#include "launcher/bench/inputs.h"
#include "launcher/bench/timing.h"
#include "launcher/loading.h"
#include "launcher/output_directory.h"
#include "peft/registry.h"
#include "study/figures/chart.h"
#include "study/page/html.h"
#include "study/run/groups.h"
#include "train/evaluation.h"
#include "train/flat_parameters.h"
#include "train/optimizer.h"
#include "train/training_step.h"

namespace dtrain::launcher {
namespace {

constexpr std::int64_t kWarmUps = 3;
// Steps that are timed: as many as take the time that is wanted, within bounds.
constexpr std::int64_t kLeastSteps = 16;
constexpr std::int64_t kMostSteps = 400;
// Examples that are scored once for the seconds of an evaluation.
constexpr std::int64_t kScored = 512;

enum class Scaling { strong, weak };

/// A method on some of the ranks. Seconds are means over the steps, of one step.
struct ScalingPoint {
  std::string method;
  Scaling scaling = Scaling::strong;
  int ranks = 1;
  std::int64_t batch_size = 0;
  double seconds = 0;
  /// Forward and backward, the mean of the ranks.
  double compute = 0;
  /// What the slowest rank takes more than the mean.
  double imbalance = 0;
  /// What the rank that waits least waits for the gradients' sum: what is not hidden behind backward.
  double exchange = 0;
  /// The slowest rank's, without the gathering of values.
  double optimizer = 0;
  /// What the rank that waits least waits for the values of a sharded optimizer's other ranks: what is not hidden
  /// behind the next forward pass.
  double gather = 0;
  double samples_per_second = 0;
  double tokens = 0;
  double flop = 0;
  std::int64_t trainable_parameters = 0;
  /// Of them, those outside of lookup tables, of which only rows travel.
  std::int64_t dense_parameters = 0;
  std::int64_t reduced_bytes = 0;
  std::int64_t gathered_bytes = 0;
  /// Of the optimizer's moments, on the rank that has most.
  std::int64_t moment_bytes = 0;
  bool sharded = false;
  double evaluation_seconds = 0;
};

/// What a rank of a group does at one point; the same result on each of the group's ranks.
ScalingPoint measure(const Options& options, const Session& session, const data::Task& task,
                     const train::Examples& examples, const train::RunContext& context, ScalingPoint point) {
  const auto classifier = bench_classifier(options, task, context.device);
  train::TrainOptions training = training_options(options, task);
  training.method = peft::parse_method_spec(point.method);
  training.batch_size = point.batch_size;
  peft::make_method(training.method)->attach(*classifier, attach_context(training.seed));
  auto parameters = train::flatten(*classifier);
  train::FeatureStore features(cache_memory(options, session));
  train::TrainingStep step(*classifier, parameters, training, examples, context, features);
  train::AdamW optimizer(parameters, training, step.sharding(), &step.gather());
  for (std::int64_t i = 0; i + 1 < kWarmUps; ++i) step.run(i);
  const auto begin_warm = std::chrono::steady_clock::now();
  step.run(kWarmUps - 1);
  optimizer.step(1e-5);
  const auto count =
      at::tensor({std::clamp(static_cast<std::int64_t>(options.bench_seconds / seconds_since(begin_warm)), kLeastSteps,
                             kMostSteps)},
                 at::kLong);
  context.control.broadcast(count, 0);
  const auto steps = count.item<std::int64_t>();
  const auto own = at::zeros({1, steps, 5}, at::kDouble);  // of each step: all, compute, exchange, optimizer, gather
  std::int64_t samples = 0;
  const train::ValueGather& gather = step.gather();
  const std::int64_t gathered_before = gather.bytes();
  point.sharded = step.sharding().on();
  for (std::int64_t i = 0; i < steps; ++i) {
    // Ranks begin together. A sharded optimizer's step leaves them so, and a barrier would hide what is under way then.
    if (!point.sharded || i == 0) context.control.barrier();
    const double waited_before = gather.seconds();
    const auto begin = std::chrono::steady_clock::now();
    const auto outcome = step.run(kWarmUps + i);
    const double waited_in_step = gather.seconds();
    const auto after_step = std::chrono::steady_clock::now();
    optimizer.step(1e-5);
    const double optimizer_seconds = seconds_since(after_step) - (gather.seconds() - waited_in_step);
    auto of_step = own[0][i];
    of_step[0] = seconds_since(begin);
    of_step[1] = outcome.compute_seconds;
    of_step[2] = outcome.exchange_seconds;
    of_step[3] = optimizer_seconds;
    of_step[4] = gather.seconds() - waited_before;
    samples += outcome.examples;
    point.tokens += static_cast<double>(outcome.tokens) / static_cast<double>(steps);
    point.flop += outcome.flop / static_cast<double>(steps);
  }
  const auto all = context.control.all_gather(own);  // [ranks, steps, 5]
  const auto part = [&](int column) { return all.select(2, column); };
  const auto mean = [](const at::Tensor& of_steps) { return of_steps.mean().item<double>(); };
  point.seconds = point.sharded ? mean(part(0)) : mean(part(0).amax(0));
  point.compute = mean(part(1).mean(0));
  point.imbalance = mean(part(1).amax(0) - part(1).mean(0));
  point.exchange = mean(part(2).amin(0));
  point.optimizer = mean(part(3).amax(0));
  point.gather = mean(part(4).amin(0));
  point.samples_per_second = static_cast<double>(samples) / static_cast<double>(steps) / point.seconds;
  point.trainable_parameters = parameters.size();
  for (const dist::Stretch& stretch : step.sharding().dense()) point.dense_parameters += stretch.size();
  point.moment_bytes =
      context.control.all_gather(at::tensor({optimizer.moment_bytes()}, at::kLong)).max().item<std::int64_t>();
  point.reduced_bytes = step.allreduce_bytes();
  point.gathered_bytes = (gather.bytes() - gathered_before) / steps;
  step.gather().wait();
  context.control.barrier();
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::int64_t> ids;
  for (std::int64_t id = 0; id < std::min(kScored, examples.size()); ++id) ids.push_back(id);
  train::score(*classifier, examples.subset(ids), context);
  point.evaluation_seconds = seconds_since(begin);
  return point;
}

std::vector<int> rank_counts(const Options& options, int size) {
  std::vector<int> counts;
  if (options.scaling_ranks.empty()) {
    for (int ranks = 1; ranks <= size; ranks *= 2) {
      if (size % ranks == 0) counts.push_back(ranks);
    }
    if (counts.back() != size) counts.push_back(size);
    return counts;
  }
  for (const std::string& text : split_list(options.scaling_ranks)) {
    int ranks = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ranks);
    if (error != std::errc() || end != text.data() + text.size() || ranks < 1 || size % ranks != 0) {
      throw UsageError(
          fmt::format("--ranks: expected numbers that divide that of the ranks, {}, found '{}'", size, text));
    }
    counts.push_back(ranks);
  }
  return counts;
}

const char* name_of(Scaling scaling) { return scaling == Scaling::strong ? "strong" : "weak"; }

// Against the least number of ranks: 1 where the work of a rank and its time fall, or stay, in step.
double efficiency(const ScalingPoint& point, const ScalingPoint& least) {
  return point.samples_per_second / least.samples_per_second * least.ranks / point.ranks;
}

const ScalingPoint& least_of(const std::vector<ScalingPoint>& points, const ScalingPoint& point) {
  return *std::find_if(points.begin(), points.end(), [&](const ScalingPoint& other) {
    return other.method == point.method && other.scaling == point.scaling;
  });
}

Table table_of(const std::vector<ScalingPoint>& points) {
  Table table{{"method", "scaling", "ranks", "batch", "step", "compute", "imbalance", "exchange", "optimizer", "gather",
               "samples/s", "efficiency", "scoring", "moments"},
              {}};
  for (const ScalingPoint& point : points) {
    const double scored = point.evaluation_seconds;
    table.rows.push_back({point.method, name_of(point.scaling), std::to_string(point.ranks),
                          std::to_string(point.batch_size), duration_text(point.seconds), duration_text(point.compute),
                          duration_text(point.imbalance), duration_text(point.exchange), duration_text(point.optimizer),
                          duration_text(point.gather), rate_text(point.samples_per_second),
                          fmt::format("{:.2f}", efficiency(point, least_of(points, point))), duration_text(scored),
                          bytes_text(static_cast<double>(point.moment_bytes))});
  }
  return table;
}

nlohmann::json json_of(const std::vector<ScalingPoint>& points, const Options& options, const Session& session) {
  nlohmann::json all = nlohmann::json::array();
  for (const ScalingPoint& point : points) {
    all.push_back({{"method", point.method},
                   {"scaling", name_of(point.scaling)},
                   {"ranks", point.ranks},
                   {"batch_size", point.batch_size},
                   {"step_seconds", point.seconds},
                   {"compute_seconds", point.compute},
                   {"imbalance_seconds", point.imbalance},
                   {"exchange_seconds", point.exchange},
                   {"optimizer_seconds", point.optimizer},
                   {"gather_seconds", point.gather},
                   {"samples_per_second", point.samples_per_second},
                   {"efficiency", efficiency(point, least_of(points, point))},
                   {"tokens_per_step", point.tokens},
                   {"flop_per_step", point.flop},
                   {"trainable_parameters", point.trainable_parameters},
                   {"dense_parameters", point.dense_parameters},
                   {"reduced_bytes", point.reduced_bytes},
                   {"gathered_bytes", point.gathered_bytes},
                   {"moment_bytes", point.moment_bytes},
                   {"sharded_optimizer", point.sharded},
                   {"evaluation_seconds", point.evaluation_seconds}});
  }
  return {{"machine", session.description()},
          {"threads", session.threads()},
          {"cores", session.cores().usable},
          {"ranks_of_node", session.local_size()},
          {"reduce_precision", options.reduce_precision},
          {"bucket_bytes", options.training.bucket_bytes},
          {"points", all}};
}

std::string figure_of(const std::vector<ScalingPoint>& points) {
  using study::figures::Chart;
  Chart chart;
  chart.title = "Parallel efficiency";
  chart.description = "Samples a second and rank, over those of the least number of ranks, by number of ranks.";
  std::vector<double> ranks, values{0, 1};
  std::vector<std::string> methods;
  for (const ScalingPoint& point : points) {
    const std::string name = fmt::format("{}, {}", point.method, name_of(point.scaling));
    auto series = std::find_if(chart.series.begin(), chart.series.end(), [&](const auto& s) { return s.name == name; });
    if (series == chart.series.end()) {
      chart.series.push_back({.name = name, .style = chart.series.size(), .points = {}});
      series = chart.series.end() - 1;
    }
    const double value = efficiency(point, least_of(points, point));
    series->points.push_back({.x = static_cast<double>(point.ranks), .y = value});
    ranks.push_back(point.ranks);
    values.push_back(value);
  }
  chart.x =
      study::figures::log_axis_at("ranks (logarithmic)", ranks, [](double value) { return fmt::format("{}", value); });
  chart.y = study::figures::linear_axis("efficiency", values, {0, std::numeric_limits<double>::infinity()});
  chart.levels = {{1, "as many times as fast as there are ranks"}};
  return study::page::svg_file(study::figures::svg(chart, "scaling"));
}

}  // namespace

void bench_scaling(const Options& options, const Session& session) {
  const auto world = session.context();
  const auto counts = rank_counts(options, world.control.size());
  const auto methods = split_list(options.methods);
  for (const std::string& method : methods)
    peft::make_method(peft::parse_method_spec(method));  // refuses before it times
  const data::Task task = load_task(options, session, start_of(options));
  const auto examples = bench_examples(options, task);
  // Ranks of no part wait for those that are timed.
  const dist::TimeoutScope patience(world.control, std::chrono::hours(24));
  std::vector<ScalingPoint> points;
  for (const std::string& method : methods) {
    for (const Scaling scaling : {Scaling::strong, Scaling::weak}) {
      for (const int ranks : counts) {
        session.log().progress(fmt::format("{}, {} scaling, {} ranks", method, name_of(scaling), ranks));
        const study::Groups groups(world, ranks);
        ScalingPoint point{.method = method,
                           .scaling = scaling,
                           .ranks = ranks,
                           .batch_size = options.training.batch_size * (scaling == Scaling::weak ? ranks : 1)};
        if (groups.own() == 0) point = measure(options, session, task, examples, groups.context(), std::move(point));
        world.control.barrier();
        points.push_back(std::move(point));
      }
    }
  }
  session.log().progress("");
  // What rank 0 has: it is of every part.
  on_first_rank(session, [&] {
    session.log().line(terminal_table(table_of(points)));
    if (!options.json_file.empty())
      write_file_atomically(options.json_file, json_of(points, options, session).dump(2) + "\n");
    if (!options.svg_file.empty()) write_file_atomically(options.svg_file, figure_of(points));
  });
}

}  // namespace dtrain::launcher
