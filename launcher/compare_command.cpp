#include <ATen/ATen.h>
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <sstream>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json_file.h"
#include "base/seconds.h"
#include "launcher/commands.h"
#include "launcher/loading.h"
#include "launcher/measured_context.h"
#include "launcher/next_task.h"
#include "launcher/output_directory.h"
#include "launcher/plan_file.h"
#include "launcher/resumed_study.h"
#include "launcher/share.h"
#include "launcher/shown_commands.h"
#include "launcher/study_files.h"
#include "launcher/study_request.h"
#include "study/findings/words.h"
#include "study/journal/identity.h"
#include "study/journal/journal.h"
#include "study/plan/example_values.h"
#include "study/plan/schedule.h"
#include "study/plan/search.h"
#include "study/report/report.h"
#include "study/report/tables.h"
#include "study/run/runner.h"
#include "train/objective.h"

namespace dtrain::launcher {
namespace {

namespace fs = std::filesystem;

// The first rank's alone.
struct Files {
  fs::path output;
  std::unique_ptr<DirectoryLock> lock;
  std::optional<study::Journal> journal;
};

// What a report says besides plan, trials and how it ran.
void describe_study(study::Report& report, const data::Task& task, const Session& session, const Options& options) {
  const fs::path output = options.output;
  report.machine = session.description();
  report.command = fmt::format("mpirun -np {} dtrain compare --config {} --output NEW_DIRECTORY",
                               session.control().size(), shell_word((output / "config.ini").string()));
  report.training_options = training_options_of(options);
  report.notes = task.notes;
  report.labels = task.labels.names();
  report.begun = begun_text(output);
  std::istringstream versions(version_text());
  for (std::string line; std::getline(versions, line);) report.versions.push_back(line);
}

// Trials that cannot be compared by the metric that is asked for are not gone on with.
void check_values(const study::StudyPlan& plan, const study::FinishedTrials& finished, const fs::path& journal) {
  const auto without = study::results_without_values(plan, finished);
  if (without == 0) return;
  throw UsageError(
      fmt::format("--metric {}: {} of the finished results in {} are of an earlier version, which did not keep what "
                  "it is computed from. Go on with --metric {}, or begin anew (--overwrite).",
                  plan.metric, without, journal.string(), study::comparable_metrics(plan.problem_type).front()));
}

void finish(const study::Report& report, const fs::path& output, const Log& log) {
  write_report(report, output, output, log);
  log.line(study::terminal_text(report));
  log.line(study::run_text(report.run));
  log.line(fmt::format("written: {}, {}", (output / "report.html").string(), (output / "results.json").string()));
}

}  // namespace

void run_compare(const Options& given, const Session& session) {
  const auto began = std::chrono::steady_clock::now();
  const auto& log = session.log();
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
  warn_where_not_shared(session, files.lock.get());
  log.line(session.description());

  data::Task task = load_task(options, session, start_of(options));
  if (task.test.size() == 0) throw UsageError("compare: no test examples; name a file of them with --test");
  const data::Task with_many = scored_task(task, options, true);
  task = scored_task(std::move(task), options, false);
  options.training = training_options(options, task);
  StudyRequest request = study_request(options, task, with_many);
  request.began = began;
  const auto weights = base_weights(options, session, task);
  study::Material material = study_material(options, session, task, weights);
  const LoadedNextTask next = load_next_task(options, session, weights);
  material.next_task = next.task;
  const train::RunContext world =
      measured_context(options, session, model::read_encoder_config(model_directory(options)));
  const fs::path journal = files.output / "journal.jsonl";
  study::FinishedTrials finished;
  std::optional<study::StudyPlan> before;
  study::MethodCosts earlier_costs;
  study::RunFacts earlier_facts;
  study::StudyPlan earlier_plan;
  const auto nothing_left = at::zeros({1}, at::kInt);
  on_first_rank(session, [&] {
    request.plan.identity =
        study::study_identity(request.plan, material.training, identity_of(task),
                              {material.model_directory, options.pooling, session.precision(),
                               world.device.is_cuda() ? "cuda" : "cpu", material.forgetting_digest});
    request.plan.identity.insert(next.identity.begin(), next.identity.end());
    request.freedom.many_identity = request.plan.identity;
    study::identify_scored_data(request.freedom.many_identity, identity_of(with_many));
    if (!options.resume || !fs::exists(journal)) return;
    const auto content = study::read_journal(journal, {});
    // What its trials were scored on stays.
    if (content.plan.scores_many) study::score_many(request.plan, request.freedom);
    request.plan.scores_many = content.plan.scores_many;
    request.freedom.many_sets.clear();
    files.journal = study::Journal::go_on(journal, request.plan, log);
    finished = files.journal->finished();
    log.line(fmt::format("{} trials are finished already", finished.size()));
    check_values(request.plan, study::trials_of(request.plan, finished), journal);
    // A plan that was fitted to the time is gone on with, unless there is more time now.
    earlier_costs = content.costs;
    earlier_facts = content.run;
    earlier_plan = content.plan;
    request.earlier_ranks_per_trial = content.run.ranks_per_trial;
    // What chose the rates of its results goes on choosing them.
    request.plan.alike = content.plan.alike;
    if (request.budget_seconds && *request.budget_seconds <= content.run.budget_seconds.value_or(0))
      before = content.plan;
    if (request.budget_seconds && !before) return;  // it may grow
    const study::StudyPlan plan = plan_to_go_on_with(request.plan, before);
    if (!content.run.ended || study::plan_json(plan) != study::plan_json(content.plan) ||
        !study::Schedule(plan, finished).is_done())
      return;
    nothing_left.fill_(1);
    log.line("nothing is left to run: the report is made again");
    remove_parts(files.output);
    finish(read_study(files.output, log), files.output, log);
  });
  session.control().broadcast(nothing_left, 0);
  if (nothing_left.item<int>() == 1) return;
  // It trains a step or two of each method: what cannot be trained must not leave a study that has begun, and a study
  // that is resumed with other options must not lose its config.ini.
  const StudySetup setup = set_up_study(options, session, request, material, task.dev.size(), finished, before,
                                        files.output / "stored.part", world);
  const study::StudyPlan& plan = setup.plan;
  if (plan.scores_many) {
    task = with_many;
    material.sets = scored_sets(task);
  }
  const auto sizes = study::trial_sizes(plan, material, task.dev.size());
  for (const std::int64_t samples : plan.samples) note_classes(task, samples, log);
  note_reduce_precision(options, setup.groups->ranks_per_trial(), log);
  prepare_output(options, session);
  study::MethodCosts costs;
  for (const study::MethodForecast& forecast : setup.forecasts)
    costs[forecast.method] = study::method_costs(plan, forecast, material.training);
  // What was measured once stays.
  for (const auto& [method, of_method] : earlier_costs) {
    for (const auto& [samples, cost] : of_method) costs[method][samples] = cost;
  }
  study::RunFacts facts;
  facts.groups = setup.groups->count();
  facts.ranks_per_trial = setup.groups->ranks_per_trial();
  facts.budget_seconds = request.budget_seconds;
  facts.forecast_seconds = seconds_since(began) + setup.simulation.seconds;
  // What is left of a study that is resumed says nothing on how long all of it takes.
  const study::RunFacts facts_to_keep =
      finished.empty() ? facts : facts_of_all_runs(facts, plan, earlier_facts, earlier_plan);
  on_first_rank(session, [&] {
    study::Report beginning;
    describe_study(beginning, task, session, options);
    write_setting(beginning, files.output);
    if (!files.journal) {
      if (options.resume) log.line("no journal yet: starting the study");
      files.journal = study::Journal::begin(journal, plan);
    } else {
      files.journal->append(plan);
    }
    files.journal->append(costs);
    files.journal->append(facts_to_keep);
    write_file_atomically(files.output / "plan.json", json_text(plan_file_json(plan), 2) + "\n");
  });
  std::int64_t out_of_domain = 0;
  for (const auto& [name, set] : task.ood) out_of_domain += set.size();
  log.line(fmt::format("{} on {}: {} {}, {} dev, {} test{} examples; in {}\n", plan.model, plan.task, plan.classes,
                       plan.problem_type == ProblemType::single_label_classification ? "classes" : "outputs",
                       count_text(study::dev_examples(plan.samples.back(), task.dev.size())),
                       count_text(task.test.size()),
                       plan.sets.size() > 1 ? fmt::format(" and {} out-of-domain", count_text(out_of_domain)) : "",
                       files.output.string()));
  log.line(terminal_table(study::plan_table(plan, setup.forecasts, sizes)));
  log.line(study::forecast_text(plan, facts, setup.simulation.idle_share, setup.fits));
  if (plan.problem_type == ProblemType::single_label_classification && train::metric_kind(plan.metric).is_share) {
    for (const study::EvaluationSet& set : plan.sets) log.line(study::resolution_text(plan, set));
  }

  study::Post post{session.make_mailbox(), session.make_mailbox()};
  const study::StudyLimits limits{request.budget_seconds, request.freedom.seeds, request.began};
  auto run = study::run_study(plan, material, finished, files.journal ? &*files.journal : nullptr, setup.forecasts,
                              sizes, *setup.groups, post, limits, world);
  on_first_rank(session, [&] {
    run.facts.forecast_seconds = facts_to_keep.forecast_seconds;
    if (!facts_to_keep.idle_share) run.facts.idle_share.reset();
    files.journal->append(run.facts);
    study::Report report = study::make_report(run.plan, std::move(run.finished), costs);
    report.run = run.facts;
    describe_study(report, task, session, options);
    write_setting(report, files.output);
    finish(report, files.output, log);
  });
}

}  // namespace dtrain::launcher
