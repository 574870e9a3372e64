#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json_file.h"
#include "base/listing.h"
#include "launcher/attach_context.h"
#include "launcher/commands.h"
#include "launcher/finished_run.h"
#include "launcher/loading.h"
#include "launcher/measured_context.h"
#include "launcher/output_directory.h"
#include "launcher/text_examples.h"
#include "launcher/trained_models.h"
#include "model/formats/classifier_files.h"
#include "peft/formats/trained_model.h"
#include "peft/registry.h"
#include "study/plan/plan.h"
#include "train/evaluation.h"
#include "train/event_file.h"
#include "train/results.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

// What a run trains on, chooses its steps by, and is tested on.
struct Sets {
  train::Examples train;
  train::Examples dev;
  std::vector<std::pair<std::string, train::Examples>> tests;
};

Sets choose_sets(const Options& options, const Session& session, const data::Task& task) {
  const auto counts = sample_counts(options);
  Sets sets{training_examples(task, counts.empty() ? 0 : counts[0], options.subset_seed), {}, {}};
  if (sets.train.size() < session.control().size()) {
    throw UsageError(
        fmt::format("{} ranks, but only {} training examples: some ranks would never have work. Start fewer ranks.",
                    session.control().size(), sets.train.size()));
  }
  const auto part = [](const data::TokenDataset& set, std::int64_t count) {
    return text_examples(capped(set, count, 0));
  };
  sets.dev = part(task.dev, study::dev_examples(sets.train.size(), task.dev.size()));
  const std::int64_t of_test = test_samples(options).value_or(0);
  const std::int64_t of_ood = ood_samples(options).value_or(0);
  if (task.test.size() > 0) sets.tests.emplace_back("test", part(task.test, of_test));
  for (const auto& [name, set] : task.ood) sets.tests.emplace_back("ood." + name, part(set, of_ood));
  return sets;
}

// What --run names, ready to train on. Collective.
peft::TrainedModel load_start(const Options& options, const Session& session) {
  const fs::path run = fs::weakly_canonical(options.run);
  const fs::path output = fs::weakly_canonical(options.output);
  const bool inside = std::mismatch(output.begin(), output.end(), run.begin(), run.end()).first == output.end();
  if (options.overwrite && inside) {
    throw UsageError(
        fmt::format("--overwrite: --output {} holds what --run starts from; name another directory", options.output));
  }
  auto trained = share_trained(options, session);
  session.log().line(fmt::format("start: {}, goes on as {}", options.run, trained.method.text()));
  // A whole model is read as one that only scores.
  if (peft::make_method(trained.method)->changes_whole_model()) {
    peft::make_method(trained.method)->attach(*trained.classifier, attach_context(options.training.seed));
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

// "3 classes", "12 labels (multi_label_classification)", "1 number (regression)".
std::string outputs_text(const data::Task& task) {
  const auto count = task.labels.size();
  switch (task.problem_type) {
    case ProblemType::single_label_classification:
      return fmt::format("{} classes", count);
    case ProblemType::multi_label_classification:
      return fmt::format("{} label{} (multi_label_classification)", count, count == 1 ? "" : "s");
    case ProblemType::regression:
      return fmt::format("{} number{} (regression)", count, count == 1 ? "" : "s");
  }
  return "";
}

// The first lines: what is trained, on what, and what each step sends.
void describe_run(model::Classifier& classifier, const train::TrainOptions& training, const fs::path& directory,
                  const data::Task& task, const Sets& sets, const Session& session) {
  std::int64_t all = 0;
  std::int64_t trainable = 0;
  bool trains_table = false;  // of which only the rows that a batch reaches are reduced
  for (const auto* parameter : classifier.parameters()) {
    all += parameter->value().numel();
    if (!parameter->trainable()) continue;
    trainable += parameter->value().numel();
    trains_table = trains_table || parameter->is_lookup_table();
  }
  const auto part = [](const train::Examples& used, const data::TokenDataset& given) {
    return used.size() == given.size() ? count_text(used.size())
                                       : fmt::format("{} of {}", count_text(used.size()), count_text(given.size()));
  };
  std::string data = fmt::format("data: {}, {}, {} training and {} dev examples", task.name, outputs_text(task),
                                 part(sets.train, task.train), part(sets.dev, task.dev));
  for (const auto& [name, set] : sets.tests) data += fmt::format(", {} {}", name, count_text(set.size()));
  const std::size_t phases = peft::make_method(training.method)->phases(classifier).size();
  const auto& log = session.log();
  log.line(data);
  log.line(fmt::format("model: {}, {} parameters, {} pooling", fs::absolute(directory).filename().string(),
                       count_text(all), model::pooling_name(classifier.pooling())));
  log.line(fmt::format(
      "method: {}, learning rate {}, {}{} trainable parameters ({:.3g} %), {}{} all-reduced a step",
      training.method.text(), train::learning_rate_of(training),
      phases > 1 ? fmt::format("in {} phases, in the first ", phases) : "", count_text(trainable),
      100.0 * static_cast<double>(trainable) / static_cast<double>(all),
      trains_table && session.control().size() > 1 ? "at most " : "",
      bytes_text(session.control().size() > 1 ? static_cast<double>(dist::wire_bytes(training.reduce_format, trainable))
                                              : 0.0)));
}

}  // namespace

void run_train(const Options& options, const Session& session) {
  const auto& log = session.log();
  const fs::path output = options.output;
  if (sample_counts(options).size() > 1) throw UsageError("--samples: train takes one number; compare takes a list");
  if ((options.resume || options.overwrite) && output.empty())
    throw UsageError("--resume and --overwrite: expected --output, the directory they are about");
  if (options.tensorboard && output.empty())
    throw UsageError("--tensorboard: expected --output, the directory that gets the event files");
  if (options.resume && is_finished(output, session)) {
    on_first_rank(session, [&] {
      check_finished_run(output, resolved_options(options, session),
                         data_digests(task_files(options), options.class_weights));
    });
    log.line(fmt::format("{}: this run is finished, there is nothing to resume; --overwrite starts it anew",
                         (output / "results.json").string()));
    return;
  }
  if (!output.empty()) on_first_rank(session, [&] { check_output(options); });
  log.line(session.description());
  peft::MethodSpec method = options.training.method;
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
             trained.classifier->config().vocabulary_size,
             trained.classifier->problem_type};
    method = trained.method;
    classifier = std::move(trained.classifier);
  }
  // Of what is read now: the files may change while it trains.
  std::map<std::string, std::string> digests;
  peft::TokenizerContents tokenizer;
  on_first_rank(session, [&] {
    digests = data_digests(task_files(options), options.class_weights);
    tokenizer = peft::read_tokenizer_contents(start.tokenizer);
  });
  data::Task task = load_task(options, session, start);
  if (classifier) check_classes(*classifier, task, start, log);
  train::TrainOptions training = training_options(options, task);
  on_first_rank(session, [&] { check_unchanged(digests, data_digests(task_files(options), options.class_weights)); });
  training.method = method;
  training.cache_memory = cache_memory(options, session);
  const Sets sets = choose_sets(options, session, task);
  note_classes(task, sets.train.size(), log);
  if (!classifier) {
    classifier = model::load_classifier({.directory = start.model,
                                         .pooling = pooling_option(options),
                                         .classes = task.labels.size(),
                                         .head_seed = training.seed,
                                         .problem_type = task.problem_type,
                                         .device = session.context().device,
                                         .weights = base_weights(options, session, task)});
    peft::make_method(training.method)->attach(*classifier, attach_context(training.seed));
  }
  session.have_loaded();
  const fs::path& directory = start.model;
  if (!output.empty()) prepare_output(options, session);
  describe_run(*classifier, training, directory, task, sets, session);
  note_reduce_precision(options, session.control().size(), log);

  const train::RunContext context = measured_context(options, session, classifier->config());
  train::RunFiles files;
  if (!output.empty()) files = {output / "log.jsonl", output / "checkpoint", options.resume};
  if (options.tensorboard) files.events = output / "tensorboard";
  files.node = session.lowest_local_rank();
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
      saved = peft::save_trained(*classifier, training.method, task.labels.names(), directory, output,
                                 std::move(tokenizer));
      result.stored_bytes = peft::stored_bytes(saved);
    });
  }

  const auto& objective = train::objective_of(task.problem_type);
  const auto& labels = task.labels.names();
  std::vector<std::pair<std::string, train::Metrics>> metrics;
  const auto keep = [&](const std::string& name, const train::Examples& set, const train::Evaluation& evaluation) {
    metrics.emplace_back(name, evaluation.metrics);
    result.sets.emplace_back(name, train::set_json(objective, evaluation, set, labels));
  };
  if (result.report.dev) keep("dev", sets.dev, *result.report.dev);
  for (const auto& [name, set] : sets.tests) {
    train::Evaluation evaluation;
    try {
      evaluation = train::evaluate(*classifier, set, objective, context, &features);
    } catch (const Stopped&) {
      if (!output.empty() && result.report.resumed_steps == result.report.steps)
        train::throw_if_time_is_up(fmt::format("{} was scored", name), context);
      throw Stopped(output.empty()
                        ? fmt::format("{} while scoring {}; without --output nothing is kept", stop_text(context), name)
                        : fmt::format("{} while scoring {}; what was trained is in {}, go on with --resume",
                                      stop_text(context), name, saved.string()));
    }
    keep(name, set, evaluation);
    if (output.empty()) continue;
    on_first_rank(session, [&, name = name, set = set] {
      ensure_directory(output / "predictions");
      train::write_predictions(output / "predictions" / (name + ".tsv"),
                               {train::id_column(set.size()), objective.answers(set.targets(), labels)},
                               objective.predictions(evaluation.logits, labels, false));
    });
  }
  if (!output.empty()) {
    on_first_rank(session, [&] {
      train::EventFile events(files.events);
      for (const auto& [name, of_set] : metrics) {
        if (name != "dev") events.write(result.report.steps, train::scalars_of(name, of_set));
      }
      auto json = train::run_json(result);
      json["data"] = digests;
      write_file_atomically(output / "results.json", json_text(json, 2) + "\n");
      // Not asked for, and of no use any more.
      std::error_code ignored;
      if (training.save_steps == 0) fs::remove_all(output / "checkpoint", ignored);
    });
  }
  log.line("\n" + train::metrics_table(metrics));
  log.line(fmt::format("{:.0f} samples/s, {} of training in all, best at step {} of {}, peak memory {}",
                       result.report.samples_per_second, duration_text(result.report.train_seconds),
                       result.report.best_step, result.report.steps,
                       bytes_text(static_cast<double>(result.report.peak_memory_bytes))));
  log.line(fmt::format("{} in matmuls, {:.0f} % of what the machine does in that time", flop_text(result.report.flop),
                       100 * result.report.matmul_rate_share));
  if (output.empty()) {
    log.line("nothing is kept: name a directory with --output");
  } else {
    log.line(fmt::format("written: {} ({}), {}", saved.string(), bytes_text(static_cast<double>(result.stored_bytes)),
                         (output / "results.json").string()));
  }
}

}  // namespace dtrain::launcher
