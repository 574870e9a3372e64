#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/listing.h"
#include "launcher/commands.h"
#include "launcher/finished_run.h"
#include "launcher/loading.h"
#include "launcher/output_directory.h"
#include "launcher/trained_models.h"
#include "model/formats/classifier_files.h"
#include "peft/formats/trained_model.h"
#include "peft/registry.h"
#include "study/plan.h"
#include "train/attach_context.h"
#include "train/collate.h"
#include "train/evaluation.h"
#include "train/results.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

// What a run trains on, chooses its steps by, and is tested on.
struct Sets {
  data::TokenDataset train;
  data::TokenDataset dev;
  std::vector<std::pair<std::string, data::TokenDataset>> tests;
};

Sets choose_sets(const Options& options, const Session& session, const data::Task& task) {
  const auto counts = sample_counts(options);
  Sets sets{training_examples(task, counts.empty() ? 0 : counts[0], options.subset_seed), {}, {}};
  if (sets.train.size() < session.control().size()) {
    throw UsageError(
        fmt::format("{} ranks, but only {} training examples: some ranks would never have work. Start fewer ranks.",
                    session.control().size(), sets.train.size()));
  }
  sets.dev = capped(task.dev, task.labels.size(), study::dev_examples(sets.train.size(), task.dev.size()), 0);
  if (task.test.size() > 0)
    sets.tests.emplace_back("test", capped(task.test, task.labels.size(), options.test_samples, 0));
  for (const auto& [name, set] : task.ood)
    sets.tests.emplace_back("ood." + name, capped(set, task.labels.size(), options.ood_samples, 0));
  return sets;
}

// What --run names, ready to train on.
peft::TrainedModel load_start(const Options& options, const Session& session) {
  const fs::path run = fs::weakly_canonical(options.run);
  const fs::path output = fs::weakly_canonical(options.output);
  const bool inside = std::mismatch(output.begin(), output.end(), run.begin(), run.end()).first == output.end();
  if (options.overwrite && inside) {
    throw UsageError(
        fmt::format("--overwrite: --output {} holds what --run starts from; name another directory", options.output));
  }
  auto trained = load_trained(options, session, options.run, session.context().device);
  session.log().line(fmt::format("start: {}, goes on as {}", options.run, trained.method.text()));
  // A whole model is read as one that only scores.
  if (peft::make_method(trained.method)->changes_whole_model()) {
    peft::make_method(trained.method)->attach(*trained.classifier, train::attach_context(options.training.seed));
  }
  return trained;
}

// An adapter from elsewhere may not say what its classes are.
void check_classes(const model::Classifier& classifier, const data::Task& task, const Start& start, const Log& log) {
  const auto& names = task.labels.names();
  if (names == start.labels.names()) return;
  if (classifier.classes() != task.labels.size()) {
    throw InputError(fmt::format("--run: the classifier has {} classes, the training data {} ({})",
                                 classifier.classes(), names.size(), capped_list(names)));
  }
  log.warning(fmt::format("--run: its classes are taken for those of the training data, in this order: {}",
                          capped_list(names)));
}

bool is_finished(const fs::path& output, const Session& session) {
  const auto finished = at::tensor({fs::exists(output / "results.json") ? 1 : 0}, at::kInt);
  session.control().broadcast(finished, 0);
  return finished.item<int>() == 1;
}

// The first lines: what is trained, on what, and what each step sends.
void describe(model::Classifier& classifier, const train::TrainOptions& training, const fs::path& directory,
              const data::Task& task, const Sets& sets, const Session& session) {
  std::int64_t all = 0;
  std::int64_t trainable = 0;
  for (const auto* parameter : classifier.parameters()) {
    all += parameter->value().numel();
    if (parameter->trainable()) trainable += parameter->value().numel();
  }
  const auto part = [](const data::TokenDataset& used, const data::TokenDataset& given) {
    return used.size() == given.size() ? count_text(used.size())
                                       : fmt::format("{} of {}", count_text(used.size()), count_text(given.size()));
  };
  std::string data = fmt::format("data: {}, {} classes, {} training and {} dev examples", task.name, task.labels.size(),
                                 part(sets.train, task.train), part(sets.dev, task.dev));
  for (const auto& [name, set] : sets.tests) data += fmt::format(", {} {}", name, count_text(set.size()));
  const std::size_t phases = peft::make_method(training.method)->phases(classifier).size();
  const auto& log = session.log();
  log.line(data);
  log.line(fmt::format("model: {}, {} parameters, {} pooling", fs::absolute(directory).filename().string(),
                       count_text(all), model::pooling_name(classifier.pooling())));
  log.line(fmt::format("method: {}, learning rate {}, {}{} trainable parameters ({:.3g} %), {} all-reduced a step",
                       training.method.text(), train::learning_rate_of(training),
                       phases > 1 ? fmt::format("in {} phases, in the first ", phases) : "", count_text(trainable),
                       100.0 * static_cast<double>(trainable) / static_cast<double>(all),
                       bytes_text(session.control().size() > 1 ? 4.0 * static_cast<double>(trainable) : 0.0)));
}

}  // namespace

void run_train(const Options& options, const Session& session) {
  const auto& log = session.log();
  const fs::path output = options.output;
  if (sample_counts(options).size() > 1) throw UsageError("--samples: train takes one number; compare takes a list");
  if ((options.resume || options.overwrite) && output.empty())
    throw UsageError("--resume and --overwrite: expected --output, the directory they are about");
  if (options.resume && is_finished(output, session)) {
    on_first_rank(session, [&] {
      check_finished_run(output, resolved_options(options, session), data_digests(task_files(options)));
    });
    log.line(fmt::format("{}: this run is finished, there is nothing to resume; --overwrite starts it anew",
                         (output / "results.json").string()));
    return;
  }
  if (!output.empty()) on_first_rank(session, [&] { check_output(options); });
  log.line(session.description());
  const train::RunContext context = session.context();
  train::TrainOptions training = options.training;
  training.cache_memory = cache_memory(options, session);
  Start start;
  std::unique_ptr<model::Classifier> classifier;
  if (options.run.empty()) {
    start = start_of(options);
  } else {
    auto trained = load_start(options, session);
    start = {trained.base_model,
             trained.tokenizer,
             peft::make_method(trained.method)->virtual_tokens(),
             data::LabelMap(trained.labels),
             trained.labels_have_names,
             trained.classifier->config().vocabulary_size};
    training.method = trained.method;
    classifier = std::move(trained.classifier);
  }
  // Of what is read now: the files may change while it trains.
  const auto digests = data_digests(task_files(options));
  data::Task task = load_task(options, session, start);
  if (classifier) check_classes(*classifier, task, start, log);
  const Sets sets = choose_sets(options, session, task);
  note_classes(task, sets.train.size(), log);
  if (!classifier) {
    classifier = model::load_classifier({.directory = start.model,
                                         .pooling = pooling_option(options),
                                         .classes = task.labels.size(),
                                         .head_seed = training.seed,
                                         .device = context.device});
    peft::make_method(training.method)->attach(*classifier, train::attach_context(training.seed));
  }
  const fs::path& directory = start.model;
  if (!output.empty()) prepare_output(options, session);
  describe(*classifier, training, directory, task, sets, session);

  train::RunFiles files;
  if (!output.empty()) files = {output / "log.jsonl", output / "checkpoint", options.resume};
  train::FeatureStore features(training.cache_memory);
  train::RunResult result;
  result.report = train::train(*classifier, sets.train, sets.dev, training, files, context, features);
  result.options = training;
  result.model = directory.string();
  result.start = options.run;
  result.task = task.name;
  result.columns = task.columns;
  result.samples = sets.train.size();
  result.ranks = session.control().size();
  result.machine = session.description();
  result.notes = task.notes;
  fs::path saved;
  if (!output.empty()) {
    // Before the tests: they take time, and the training took more.
    on_first_rank(session, [&] {
      saved = peft::save_trained(*classifier, training.method, task.labels.names(), directory, output, start.tokenizer);
      result.stored_bytes = peft::stored_bytes(saved);
    });
  }

  if (result.report.dev) result.metrics.emplace_back("dev", *result.report.dev);
  for (const auto& [name, set] : sets.tests) {
    at::Tensor logits;
    try {
      logits = train::score(*classifier, set, context, &features);
    } catch (const Stopped&) {
      throw Stopped(
          output.empty()
              ? fmt::format("stopped by a signal while scoring {}; without --output nothing is kept", name)
              : fmt::format("stopped by a signal while scoring {}; what was trained is in {}, go on with --resume",
                            name, saved.string()));
    }
    std::vector<std::int64_t> all(static_cast<std::size_t>(set.size()));
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
    result.metrics.emplace_back(name, train::compute_metrics(logits, train::collate_labels(set, all, at::kCPU)));
    if (output.empty()) continue;
    on_first_rank(session, [&, name = name, set = set] {
      ensure_directory(output / "predictions");
      train::write_predictions(output / "predictions" / (name + ".tsv"), logits, set, task.labels.names());
    });
  }
  if (!output.empty()) {
    on_first_rank(session, [&] {
      auto json = train::run_json(result, task.labels.names());
      json["data"] = digests;
      write_file_atomically(output / "results.json", json.dump(2) + "\n");
      // Not asked for, and of no use any more.
      std::error_code ignored;
      if (training.save_steps == 0) fs::remove_all(output / "checkpoint", ignored);
    });
  }
  log.line("\n" + train::metrics_table(result.metrics));
  log.line(fmt::format("{:.0f} samples/s, {} of training in all, best at step {} of {}, peak memory {}",
                       result.report.samples_per_second, duration_text(result.report.train_seconds),
                       result.report.best_step, result.report.steps,
                       bytes_text(static_cast<double>(result.report.peak_memory_bytes))));
  if (output.empty()) {
    log.line("nothing is kept: name a directory with --output");
  } else {
    log.line(fmt::format("written: {} ({}), {}", saved.string(), bytes_text(static_cast<double>(result.stored_bytes)),
                         (output / "results.json").string()));
  }
}

}  // namespace dtrain::launcher
