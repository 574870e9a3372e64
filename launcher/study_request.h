#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "data/task.h"
#include "launcher/options.h"
#include "launcher/session/session.h"
#include "model/formats/model_weights.h"
#include "study/plan/budget.h"
#include "study/plan/forecast.h"
#include "study/plan/plan.h"
#include "study/run/groups.h"
#include "study/run/runner.h"
#include "study/run/trial_runner.h"

namespace dtrain::launcher {

/// What the options ask of a study.
struct StudyRequest {
  /// Complete but for what a budget chooses.
  study::StudyPlan plan;
  /// What a budget may choose, and the budget in seconds; nothing: the plan is as it is.
  study::PlanFreedom freedom;
  std::optional<double> budget_seconds;
  std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
  /// Of the study that is gone on with (the first rank's; elsewhere ignored): measured anew, `auto` might choose
  /// another number, which rounds otherwise. 0: there is none.
  int earlier_ranks_per_trial = 0;
  /// What the step times are measured on.
  std::int64_t measured_samples = 0;
};

/// The task with those examples of its evaluation sets that are scored: as many as were asked for, of "auto" few or
/// `many`.
data::Task scored_task(data::Task task, const Options& options, bool many);

/// `task` and `with_many` are the scored_tasks of one task. Throws UsageError for what the task does not have,
/// InputError for a --plan file that is none.
StudyRequest study_request(const Options& options, const data::Task& task, const data::Task& with_many);

/// The evaluation sets of a task, as trials score them.
std::vector<std::pair<std::string, train::Examples>> scored_sets(const data::Task& task);

/// Classifiers of `weights` (base_weights), examples and training options of the trials. Options, session and task
/// outlive the result.
study::Material study_material(const Options& options, const Session& session, const data::Task& task,
                               const std::shared_ptr<const model::ModelWeights>& weights);

/// The plan of a study, the groups that its ranks form, and what that will take.
struct StudySetup {
  study::StudyPlan plan;
  std::unique_ptr<study::Groups> groups;
  std::vector<study::MethodForecast> forecasts;
  study::Simulation simulation;
  /// False: even the smallest plan takes longer than the budget.
  bool fits = true;
};

/// Collective. Measures the methods' steps, fits the plan to the budget, and chooses how many ranks train a trial:
/// --ranks-per-trial, else as the study began, else one, unless all ranks on each trial may end first; then that is
/// measured, too. Of evaluation sets that are free to be so, many examples are scored where nothing limits
/// the time. What is `finished` (the first rank's; elsewhere ignored) takes no time. A study whose first plan is
/// `before` keeps it where its budget has not grown. The same on every rank. Throws UsageError where the ranks cannot
/// be dealt so.
StudySetup set_up_study(const Options& options, const Session& session, const StudyRequest& request,
                        const study::Material& material, std::int64_t dev_available,
                        const study::FinishedTrials& finished, const std::optional<study::StudyPlan>& before,
                        const std::filesystem::path& scratch, const train::RunContext& world);

}  // namespace dtrain::launcher
