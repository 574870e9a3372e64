#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json_file.h"
#include "launcher/attach_context.h"
#include "launcher/commands.h"
#include "launcher/loading.h"
#include "launcher/output_directory.h"
#include "launcher/session/agreement.h"
#include "launcher/study_request.h"
#include "launcher/text_examples.h"
#include "model/formats/classifier_files.h"
#include "peft/registry.h"
#include "study/diagnosis/diagnose.h"
#include "study/diagnosis/diagnose_study.h"
#include "study/journal/identity.h"
#include "study/journal/journal.h"
#include "study/page/diagnosis_figures.h"
#include "study/plan/plan.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

// What may be tried ends within it where nothing else is said: so long a person waits.
constexpr double kDiagnosisBudget = 300;

// What is diagnosed, and what a study in --output says of it.
struct Question {
  std::int64_t samples = 0;
  study::StudyRates rates;
  /// It scores as many examples as the study does.
  bool scores_many = false;
};

// --samples; 0: not given.
std::int64_t asked_samples(const Options& options) {
  const auto counts = sample_counts(options);
  if (counts.size() > 1) throw UsageError("--samples: diagnose takes one number; compare takes a list");
  return counts.empty() ? 0 : counts[0];
}

// Of the study in --output, on the first rank. `task` and `with_many` are the scored_tasks of one task.
Question question_of_study(const Options& options, const Session& session, const data::Task& task,
                           const data::Task& with_many) {
  const fs::path output = options.output;
  const auto content = study::read_journal(output / "journal.jsonl", session.log());
  const bool scores_many = content.plan.scores_many;
  const auto identity = study::study_identity({}, options.training, identity_of(scores_many ? with_many : task),
                                              {model_directory(options), options.pooling, session.precision(),
                                               session.context().device.is_cuda() ? "cuda" : "cpu"});
  const auto different = study::other_question(content.plan, identity);
  if (!different.empty()) {
    throw UsageError(
        fmt::format("--output {}: expected a study of this model and task, found one of others: {}. Give the options "
                    "that are in its config.ini, or choose another --output.",
                    options.output, fmt::join(different, "; ")));
  }
  Question question{asked_samples(options), {}, scores_many};
  if (question.samples == 0) question.samples = study::diagnosed_samples(content.plan);
  question.rates = study::rates_of_study(content.plan, content.finished, identity, question.samples);
  return question;
}

// The same on every rank, of which the first alone may see the study.
Question question_of(const Options& options, const Session& session, const data::Task& task,
                     const data::Task& with_many) {
  std::string found;
  on_first_rank(session, [&] {
    Question question{asked_samples(options), {}};
    if (adds_to_study(options)) question = question_of_study(options, session, task, with_many);
    if (question.samples == 0) question.samples = std::min<std::int64_t>(1000, task.train.size());
    found = json_text({{"samples", question.samples},
                       {"rates", question.rates.by_method},
                       {"notes", question.rates.notes},
                       {"scores_many", question.scores_many}});
  });
  const auto said = nlohmann::json::parse(gather_texts(session.control(), found).front());
  Question question{said.at("samples"), {said.at("rates"), said.at("notes")}, said.at("scores_many")};
  study::checked_samples({question.samples}, task.train.size(), session.control().size());
  return question;
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
  material.test = text_examples(task.test);
  material.training = options.training;
  material.training.cache_memory = cache_memory(options, session);
  material.tokenize = tokenize_text;
  return material;
}

// A method that does not fit the model is refused here, before the probes take their time.
study::DiagnosisPlan make_plan(const Options& options, const study::DiagnosisMaterial& material) {
  const auto budget = budget_seconds(options);
  const auto layers = material.classifier(material.pooling, 0)->config().layers;
  study::DiagnosisPlan plan{.asked_rate = options.training.learning_rate.value(),
                            .methods = study::diagnosis_methods(options.methods, layers),
                            .learning_rates = learning_rates(options),
                            .known_rates = {},
                            .seeds = options.seeds,
                            .seconds = options.budget == "auto" ? kDiagnosisBudget : budget,
                            .began = std::chrono::steady_clock::now()};
  for (const auto& tried : plan.methods) {
    const auto classifier = material.classifier(material.pooling, 0);
    peft::make_method(tried.method)->attach(*classifier, attach_context(0));
  }
  return plan;
}

// At no moment is there a figure of another diagnosis beside the numbers.
void write_files(const study::Diagnosis& diagnosis, const fs::path& output) {
  take_name_away(output / "diagnose.svg");
  write_file_atomically(output / "diagnose.json", json_text(study::diagnosis_json(diagnosis), 2) + "\n");
  write_file_atomically(output / "diagnose.svg", study::page::probe_svg(diagnosis));
}

void show(const study::Diagnosis& diagnosis, const Log& log) {
  log.line("\nLinear heads at their optimum, test accuracy % by layer and pooling (*: best on dev)\n");
  log.line(terminal_table(study::probe_table(diagnosis)));
  log.line(terminal_table(study::diagnosis_table(diagnosis)));
  for (const auto& sentence : study::diagnosis_words(diagnosis)) log.line(sentence);
}

}  // namespace

void run_diagnose(const Options& given, const Session& session) {
  const auto began = std::chrono::steady_clock::now();
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
  const data::Task with_many = scored_task(task, options, true);
  task = scored_task(std::move(task), options, false);
  options.training = training_options(options, task);
  const Question question = question_of(options, session, task, with_many);
  if (question.scores_many) task = with_many;
  const std::int64_t samples = question.samples;
  note_classes(task, samples, log);
  for (const auto& note : question.rates.notes) log.warning(note);
  const auto material = make_material(options, session, task, samples);
  study::DiagnosisPlan plan = make_plan(options, material);
  plan.known_rates = question.rates.by_method;
  plan.began = began;
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
    diagnosis.notes.insert(diagnosis.notes.end(), question.rates.notes.begin(), question.rates.notes.end());
    write_files(diagnosis, options.output);
    show(diagnosis, log);
    log.line(fmt::format("written: {0}/diagnose.json, {0}/diagnose.svg{1}", options.output,
                         adds_to_study(options) ? fmt::format("; dtrain report {} shows them", options.output) : ""));
  });
}

}  // namespace dtrain::launcher
