#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "study/plan/forecast.h"
#include "study/plan/plan.h"
#include "study/plan/schedule.h"

namespace dtrain::study {

/// What a budget may choose; what was given stays.
struct PlanFreedom {
  bool samples = true;
  bool seeds = true;
  bool search = true;
  /// Training examples that there are.
  std::int64_t available = 0;
  /// Steps of a whole training.
  std::function<std::int64_t(std::int64_t samples)> steps;
  /// The evaluation sets with more examples, and the study's identity with these; empty: what is scored was given.
  std::vector<EvaluationSet> many_sets = {};
  std::map<std::string, std::string> many_identity = {};
};

/// Makes the plan one that scores these, where it is free to.
void score_many(StudyPlan& plan, const PlanFreedom& freedom);

struct FittedPlan {
  StudyPlan plan;
  Simulation simulation;
  /// False: even the smallest plan takes longer.
  bool fits = true;
};

/// The best plan that is forecast to end within `seconds`, of which `kReserve` stay for searches that widen: every
/// method at one count (1,000, with 3 seeds, else 2, else at 100), then more counts (100, 10,000, 100,000, all), then
/// seeds up to 5, then, where a count did not fit and the seeds did, counts between (3,000 or 30,000, 300), then the
/// whole trainings of the search, then what lies between its rates, then more examples of the evaluation sets. What
/// does not fit is passed over, but of the tenfold counts none is tried whose smaller neighbour did not fit. `plan`
/// holds what is given, and the first of the result seeds.
FittedPlan fit_plan(const StudyPlan& plan, const PlanFreedom& freedom, const std::vector<MethodForecast>& forecasts,
                    TrialSizes sizes, int groups, double seconds);

/// The forecast of a plan as it is.
Simulation simulate_plan(const StudyPlan& plan, const FinishedTrials& finished,
                         const std::vector<MethodForecast>& forecasts, const TrialSizes& sizes, int groups);

constexpr double kReserve = 0.1;
constexpr std::int64_t kMostSeeds = 5;
/// In all, where seeds are added because a decision hangs on them: as far as docs/statistics.md has simulated it.
constexpr std::size_t kMostAddedSeeds = 10;
/// Where more are expected to be needed, none is added. More than are given, as two or three seeds tell their scatter
/// badly.
constexpr std::int64_t kMostSeedsExpected = 20;

}  // namespace dtrain::study
