#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/atomic_file.h"
#include "base/error.h"
#include "launcher/commands.h"
#include "launcher/loading.h"
#include "launcher/output_directory.h"
#include "model/classifier_files.h"
#include "peft/registry.h"
#include "peft/trained_model.h"
#include "train/collate.h"
#include "train/evaluation.h"
#include "train/results.h"

namespace dtrain::launcher {

void run_train(const Options& options, const Session& session) {
  const auto& log = session.log();
  if (!options.output.empty()) prepare_output(options, session);
  log.line(session.description());
  const data::Task task = load_task(options, session);
  const auto counts = sample_counts(options);
  if (counts.size() > 1) throw UsageError("--samples: train takes one number; compare takes a list");
  const auto examples = training_examples(task, counts.empty() ? 0 : counts[0], options.subset_seed);
  const train::RunContext context = session.context();
  if (examples.size() < session.control().size()) {
    throw UsageError(
        fmt::format("{} ranks, but only {} training examples: some ranks would never have work. Start fewer ranks.",
                    session.control().size(), examples.size()));
  }

  train::TrainOptions training = options.training;
  training.cache_memory = cache_memory(options, session);
  const auto directory = model_directory(options);
  auto classifier = model::load_classifier({.directory = directory,
                                            .pooling = pooling_option(options),
                                            .classes = task.labels.size(),
                                            .head_seed = training.seed,
                                            .device = context.device});
  peft::make_method(training.method)->attach(*classifier, training.seed);
  log.line(fmt::format("{} on {}: {} examples, {} classes, learning rate {}, {} pooling", training.method.text(),
                       task.name, count_text(examples.size()), task.labels.size(), train::learning_rate_of(training),
                       model::pooling_name(classifier->pooling())));

  const std::filesystem::path output = options.output;
  train::RunFiles files;
  if (!options.output.empty()) files = {output / "log.jsonl", output / "checkpoint", options.resume};
  train::FeatureStore features(training.cache_memory);
  train::RunResult result;
  result.report = train::train(*classifier, examples, task.dev, training, files, context, features);
  result.options = training;
  result.model = directory.string();
  result.task = task.name;
  result.samples = examples.size();
  result.ranks = session.control().size();
  result.notes = task.notes;

  if (result.report.dev) result.metrics.emplace_back("dev", *result.report.dev);
  std::vector<std::pair<std::string, data::TokenDataset>> tests;
  if (task.test.size() > 0) tests.emplace_back("test", capped(task.test, task.labels.size(), options.test_samples, 0));
  for (const auto& [name, set] : task.ood)
    tests.emplace_back("ood." + name, capped(set, task.labels.size(), options.ood_samples, 0));
  for (const auto& [name, set] : tests) {
    const auto logits = train::score(*classifier, set, context, &features);
    std::vector<std::int64_t> all(static_cast<std::size_t>(set.size()));
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
    result.metrics.emplace_back(name, train::compute_metrics(logits, train::collate_labels(set, all, at::kCPU)));
    if (options.output.empty()) continue;
    on_first_rank(session, [&, name = name, set = set] {
      ensure_directory(output / "predictions");
      train::write_predictions(output / "predictions" / (name + ".tsv"), logits, set, task.labels.names());
    });
  }
  log.line("\n" + train::metrics_table(result.metrics));
  log.line(fmt::format("{} trainable parameters, {} all-reduced a step, {:.0f} samples/s, {} in all, peak memory {}",
                       count_text(result.report.trainable_parameters),
                       bytes_text(static_cast<double>(result.report.allreduce_bytes_per_step)),
                       result.report.samples_per_second, duration_text(result.report.train_seconds),
                       bytes_text(static_cast<double>(result.report.peak_memory_bytes))));
  if (options.output.empty()) {
    log.line("nothing is kept: name a directory with --output");
    return;
  }
  on_first_rank(session, [&] {
    const auto saved = peft::save_trained(*classifier, training.method, task.labels.names(), directory, output);
    result.stored_bytes = peft::stored_bytes(saved);
    write_file_atomically(output / "results.json", train::run_json(result, task.labels.names()).dump(2) + "\n");
    log.line(fmt::format("written: {} ({}), {}", saved.string(), bytes_text(static_cast<double>(result.stored_bytes)),
                         (output / "results.json").string()));
  });
}

}  // namespace dtrain::launcher
