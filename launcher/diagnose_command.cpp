#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>

#include "base/atomic_file.h"
#include "base/error.h"
#include "launcher/attach_context.h"
#include "launcher/commands.h"
#include "launcher/loading.h"
#include "launcher/output_directory.h"
#include "launcher/text_examples.h"
#include "model/formats/classifier_files.h"
#include "peft/registry.h"
#include "study/diagnose.h"
#include "study/plan.h"
#include "study/probe_figure.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

std::int64_t sample_count(const Options& options, const data::Task& task, int ranks) {
  auto counts = sample_counts(options);
  if (counts.size() > 1) throw UsageError("--samples: diagnose takes one number; compare takes a list");
  if (counts.empty()) counts = {std::min<std::int64_t>(1000, task.train.size())};
  return study::checked_samples(counts, task.train.size(), ranks)[0];
}

study::DiagnosisMaterial make_material(const Options& options, const Session& session, const data::Task& task,
                                       std::int64_t samples) {
  study::DiagnosisMaterial material;
  const auto load = [&options, &session, &task, weights = base_weights(options, session, task)](
                        std::optional<model::Pooling> pooling, std::uint64_t head_seed) {
    return model::load_classifier({.directory = model_directory(options),
                                   .pooling = pooling,
                                   .classes = task.labels.size(),
                                   .head_seed = head_seed,
                                   .problem_type = task.problem_type,
                                   .device = session.context().device,
                                   .weights = weights});
  };
  material.classifier = load;
  material.pooling = load(pooling_option(options), 0)->pooling();
  material.train = training_examples(task, samples, options.subset_seed);
  material.dev = text_examples(capped(task.dev, study::dev_examples(samples, task.dev.size()), 0));
  material.test = text_examples(capped(task.test, options.test_samples, 0));
  material.training = options.training;
  material.training.cache_memory = cache_memory(options, session);
  material.tokenize = tokenize_text;
  return material;
}

// A method that does not fit the model is refused here, before the probes take their time.
study::DiagnosisPlan make_plan(const Options& options, const study::DiagnosisMaterial& material) {
  const auto layers = material.classifier(material.pooling, 0)->config().layers;
  study::DiagnosisPlan plan{.asked_rate = options.training.learning_rate.value(),
                            .methods = study::diagnosis_methods(options.methods, layers),
                            .learning_rates = learning_rates(options),
                            .seeds = options.seeds};
  for (const auto& method : plan.methods) {
    const auto classifier = material.classifier(material.pooling, 0);
    peft::make_method(method)->attach(*classifier, attach_context(0));
  }
  return plan;
}

void show(const study::Diagnosis& diagnosis, const Log& log) {
  log.line("\nLinear heads at their optimum, test accuracy % by layer and pooling (*: best on dev)\n");
  log.line(terminal_table(study::probe_table(diagnosis)));
  log.line(terminal_table(study::diagnosis_table(diagnosis)));
  for (const auto& sentence : study::diagnosis_words(diagnosis)) log.line(sentence);
}

}  // namespace

void run_diagnose(const Options& given, const Session& session) {
  const auto& log = session.log();
  Options options = given;
  std::unique_ptr<DirectoryLock> lock;  // the first rank's alone
  on_first_rank(session, [&] {
    options.output = study_output(options, log);
    if (!fs::exists(fs::path(options.output) / DirectoryLock::kFile)) check_output(options);
    lock = lock_directory(options.output, options.command, log);
    check_output(options);
  });
  log.line(session.description());

  const Start start = start_of(options);
  data::Task task = load_task(options, session, start);
  if (task.problem_type != ProblemType::single_label_classification) {
    throw UsageError(fmt::format("diagnose: expected a task of classes (single_label_classification), found {}",
                                 problem_type_name(task.problem_type)));
  }
  if (task.test.size() == 0) throw UsageError("diagnose: no test examples; name a file of them with --test");
  const std::int64_t samples = sample_count(options, task, session.control().size());
  note_classes(task, samples, log);
  options.training = training_options(options, task);
  const auto material = make_material(options, session, task, samples);
  const study::DiagnosisPlan plan = make_plan(options, material);
  note_reduce_precision(options, session.control().size(), log);
  prepare_output(options, session);
  const std::string model = fs::absolute(model_directory(options)).lexically_normal().filename().string();
  log.line(fmt::format("{} on {}: {} classes, {} training, {} dev, {} test examples", model, task.name,
                       task.labels.size(), count_text(samples), count_text(material.dev.size()),
                       count_text(material.test.size())));

  auto diagnosis = study::diagnose(plan, material, session.context());
  on_first_rank(session, [&] {
    diagnosis.model = model;
    diagnosis.task = task.name;
    diagnosis.machine = session.description();
    diagnosis.notes = task.notes;
    const fs::path output = options.output;
    write_file_atomically(output / "diagnose.json", study::diagnosis_json(diagnosis).dump(2) + "\n");
    write_file_atomically(output / "diagnose.svg", study::probe_figure(diagnosis));
    show(diagnosis, log);
    log.line(fmt::format("written: {}, {}", (output / "diagnose.json").string(), (output / "diagnose.svg").string()));
  });
}

}  // namespace dtrain::launcher
