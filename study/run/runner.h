#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <vector>

#include "dist/mailbox.h"
#include "study/journal/journal.h"
#include "study/journal/run_facts.h"
#include "study/plan/forecast.h"
#include "study/plan/plan.h"
#include "study/plan/trial.h"
#include "study/run/groups.h"
#include "study/run/trial_runner.h"
#include "train/run_context.h"

namespace dtrain::study {

/// Collective over the context's ranks. A few steps of each method on `samples` examples, by the first group with
/// nothing beside it, then by every group at once; and the bytes it stores, for which `scratch` is written and removed.
/// The same on every rank. Throws UsageError for a method whose settings do not fit the model.
std::vector<MethodForecast> forecast(const StudyPlan& plan, const Material& material, std::int64_t samples,
                                     const std::filesystem::path& scratch, const Groups& groups,
                                     const train::RunContext& world);

/// What trial_seconds asks for.
TrialSizes trial_sizes(const StudyPlan& plan, const Material& material, std::int64_t dev_available);

/// How the ranks of a study reach each other while they train.
struct Post {
  /// To the first rank, and from it.
  std::unique_ptr<dist::Mailbox> requests;
  std::unique_ptr<dist::Mailbox> orders;
};

/// What a run of a study leaves on the first rank; elsewhere nothing.
struct StudyRun {
  /// With the seeds that were added.
  StudyPlan plan;
  FinishedTrials finished;
  RunFacts facts;
};

/// What a study runs under.
struct StudyLimits {
  /// --budget in seconds, from `began` on.
  std::optional<double> budget_seconds;
  /// Whether seeds may be added where decisions hang on them, as long as there is time.
  bool may_add_seeds = false;
  std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
};

/// Collective. Runs the trials that `finished` (the first rank's; elsewhere ignored) does not hold. The first rank's
/// `journal` (null elsewhere) has each trial before anything that builds on it begins. Throws Stopped after a signal to
/// any rank or at the time limit; the trials under way are lost. TrainingError where that leaves none that has ended.
StudyRun run_study(const StudyPlan& plan, const Material& material, const FinishedTrials& finished, Journal* journal,
                   const std::vector<MethodForecast>& forecasts, const TrialSizes& sizes, const Groups& groups,
                   Post& post, const StudyLimits& limits, const train::RunContext& world);

}  // namespace dtrain::study
