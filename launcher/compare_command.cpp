#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <sstream>

#include "base/atomic_file.h"
#include "base/error.h"
#include "launcher/commands.h"
#include "launcher/loading.h"
#include "launcher/output_directory.h"
#include "launcher/share.h"
#include "launcher/study_files.h"
#include "model/formats/classifier_files.h"
#include "study/identity.h"
#include "study/journal.h"
#include "study/report.h"
#include "study/runner.h"
#include "study/tables.h"
#include "study/words.h"
#include "train/text_examples.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

// Knowing nothing, by the metric that methods are compared by.
double untrained_score(const data::TokenDataset& texts) {
  const train::Objective& objective = train::objective_of(texts.targets().type());
  const auto examples = train::text_examples(texts);
  return objective.untrained(examples.all_targets(), examples.targets().outputs()).value(objective.score_metric());
}

// Of each example; empty where they have none.
std::vector<std::int32_t> classes_of(const data::Targets& targets) {
  std::vector<std::int32_t> classes;
  if (targets.type() != ProblemType::single_label_classification) return classes;
  for (std::int64_t i = 0; i < targets.size(); ++i) classes.push_back(targets.class_of(i));
  return classes;
}

// --metric, or the objective's own.
std::string comparison_metric(const Options& options, ProblemType type) {
  if (options.metric == "auto") return train::objective_of(type).score_metric();
  const auto& known = study::comparable_metrics(type);
  if (std::find(known.begin(), known.end(), options.metric) == known.end()) {
    throw UsageError(fmt::format("--metric: {} cannot be compared by {}; expected one of {}", problem_type_name(type),
                                 options.metric, fmt::join(known, ", ")));
  }
  return options.metric;
}

study::StudyPlan make_plan(const Options& options, const data::Task& task, int ranks) {
  study::StudyPlan plan;
  plan.methods = study::method_plans(split_list(options.methods), learning_rates(options));
  auto samples = sample_counts(options);
  if (samples.empty()) samples = {std::min<std::int64_t>(1000, task.train.size())};
  plan.samples = study::checked_samples(samples, task.train.size(), ranks);
  plan.search_seed = options.training.seed;
  for (std::int64_t i = 1; i <= options.seeds; ++i)
    plan.result_seeds.push_back(plan.search_seed + static_cast<std::uint64_t>(i));
  plan.subset_seed = options.subset_seed;
  plan.select_metric = options.training.select_metric;
  plan.problem_type = task.problem_type;
  plan.metric = comparison_metric(options, task.problem_type);
  plan.margin = options.margin / 100;
  plan.model = fs::absolute(model_directory(options)).lexically_normal().filename().string();
  plan.task = task.name;
  plan.classes = task.labels.size();
  plan.dev_majority_share = untrained_score(task.dev);
  const auto add = [&](const std::string& name, const data::TokenDataset& set) {
    plan.sets.push_back({name, set.size(), untrained_score(set), classes_of(set.targets())});
  };
  add("test", task.test);
  for (const auto& [name, set] : task.ood) add("ood." + name, set);
  return plan;
}

study::Material make_material(const Options& options, const Session& session, const data::Task& task) {
  study::Material material;
  material.model_directory = model_directory(options);
  material.classifier = [&options, &session, &task](std::uint64_t head_seed) {
    return model::load_classifier({.directory = model_directory(options),
                                   .pooling = pooling_option(options),
                                   .classes = task.labels.size(),
                                   .head_seed = head_seed,
                                   .problem_type = task.problem_type,
                                   .device = session.context().device});
  };
  material.train = [&task](std::int64_t samples, std::uint64_t subset_seed) {
    return training_examples(task, samples, subset_seed);
  };
  material.dev = [&task](std::int64_t samples) {
    return train::text_examples(capped(task.dev, study::dev_examples(samples, task.dev.size()), 0));
  };
  material.sets.emplace_back("test", train::text_examples(task.test));
  for (const auto& [name, set] : task.ood) material.sets.emplace_back("ood." + name, train::text_examples(set));
  material.labels = task.labels.names();
  material.training = options.training;
  material.training.cache_memory = cache_memory(options, session);
  return material;
}

// The first rank's alone.
struct Files {
  fs::path output;
  std::unique_ptr<DirectoryLock> lock;
  std::optional<study::Journal> journal;
};

// What a report says besides plan, trials and how it ran.
void describe(study::Report& report, const data::Task& task, const Session& session, const fs::path& output) {
  report.machine = session.description();
  report.command = fmt::format("mpirun -np {} dtrain compare --config {} --output NEW_DIRECTORY",
                               session.control().size(), (output / "config.ini").string());
  report.notes = task.notes;
  report.labels = task.labels.names();
  report.begun = begun_text(output);
  std::istringstream versions(version_text());
  for (std::string line; std::getline(versions, line);) report.versions.push_back(line);
}

}  // namespace

void run_compare(const Options& given, const Session& session) {
  const auto& log = session.log();
  auto& control = session.control();
  Options options = given;
  Files files;
  on_first_rank(session, [&] {
    options.output = study_output(options, log);
    files.output = options.output;
    // Nothing is left in a directory that is refused; one with a lock belongs to a study, which may be running.
    if (!fs::exists(files.output / DirectoryLock::kFile)) check_output(options);
    files.lock = lock_directory(files.output, options.command, log);
    check_output(options);  // of an earlier study: before the forecast, which takes a while
  });
  log.line(session.description());

  data::Task task = load_task(options, session, start_of(options));
  if (task.test.size() == 0) throw UsageError("compare: no test examples; name a file of them with --test");
  task.test = capped(task.test, options.test_samples, 0);
  for (auto& [name, set] : task.ood) set = capped(set, options.ood_samples, 0);
  options.training = training_options(options, task);
  study::StudyPlan plan = make_plan(options, task, control.size());
  for (const std::int64_t samples : plan.samples) note_classes(task, samples, log);
  const study::Material material = make_material(options, session, task);
  const train::RunContext context = session.context();
  const fs::path journal = files.output / "journal.jsonl";
  on_first_rank(session, [&] {
    plan.identity = study::study_identity(
        plan, material.training, task,
        {material.model_directory, options.pooling, session.precision(), context.device.is_cuda() ? "cuda" : "cpu"});
    if (!options.resume || !fs::exists(journal)) return;
    files.journal = study::Journal::go_on(journal, plan, log);
    log.line(fmt::format("{} trials are finished already", files.journal->finished().size()));
  });
  // It trains a step or two of each method: what cannot be trained must not leave a study that has begun, and a study
  // that is resumed with other options must not lose its config.ini.
  const auto forecasts = study::forecast(plan, material, files.output / "stored.part", context);
  prepare_output(options, session);
  on_first_rank(session, [&] {
    study::Report beginning;
    describe(beginning, task, session, files.output);
    write_setting(beginning, files.output);
    if (files.journal) return;
    if (options.resume) log.line("no journal yet: starting the study");
    files.journal = study::Journal::begin(journal, plan);
  });
  const auto finished =
      study::shared_trials(files.journal ? files.journal->finished() : study::FinishedTrials(), control);
  const auto sizes = study::trial_sizes(plan, material, task.dev.size());
  log.line(fmt::format(
      "{} on {}: {} {}, {} dev, {} test{} examples; in {}\n", plan.model, plan.task, plan.classes,
      plan.problem_type == ProblemType::single_label_classification ? "classes" : "outputs",
      count_text(study::dev_examples(plan.samples.back(), task.dev.size())), count_text(task.test.size()),
      plan.sets.size() > 1 ? fmt::format(" and {} out-of-domain", count_text(sizes.scored - task.test.size())) : "",
      files.output.string()));
  log.line(terminal_table(study::plan_table(plan, forecasts, sizes)));
  if (plan.problem_type == ProblemType::single_label_classification) {
    for (const study::EvaluationSet& set : plan.sets) log.line(study::resolution_text(set));
  }

  auto trials =
      study::run_study(plan, material, finished, files.journal ? &*files.journal : nullptr, forecasts, sizes, context);
  on_first_rank(session, [&] {
    study::Report report = study::make_report(plan, std::move(trials));
    describe(report, task, session, files.output);
    write_setting(report, files.output);
    write_report(report, files.output, files.output, log);
    log.line(study::terminal_text(report));
    log.line(fmt::format("written: {}, {}", (files.output / "report.html").string(),
                         (files.output / "results.json").string()));
  });
}

}  // namespace dtrain::launcher
