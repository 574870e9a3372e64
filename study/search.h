#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "study/plan.h"
#include "study/trial.h"

namespace dtrain::study {

/// The search for the learning rate of a method at a sample count, as far as it has come: a function of the plan and of
/// the trials that ended, whoever ran them and in whatever order.
///
/// Successive halving (Jamieson and Talwalkar, 2016) on dev over a geometric ladder of rates, which widens: the rates
/// of the plan, at later counts the best one of the count before and its two neighbours, are tried at a quarter of the
/// steps (kShortRung). While the best of them is at an end, the next rate of the ladder is tried, too, as far as the
/// method's range goes. A quick search chooses that one. Else the best and the better of its neighbours are trained
/// whole, and the best of those is chosen once both its neighbours have been tried; a fine one tries whole trainings
/// halfway to them, too. A trial that fails is worse than any that ends. Where a whole training has less than
/// kStepsToHalve steps, and where the rates were given, all are trained whole.
struct Search {
  /// What can begin now and is not finished: trials that wait for nothing. Some may be under way.
  std::vector<Trial> ready;
  /// Every trial that it asked for so far, `ready` among them, ascending in length, then in learning rate.
  std::vector<Trial> asked;
  /// No trial is missing any more.
  bool done = false;
  /// Once done; none where no learning rate trained.
  std::optional<double> chosen;
  /// Whether the chosen rate is an end of the range, beyond which nothing may be tried.
  bool at_low_edge = false;
  bool at_high_edge = false;
};

constexpr double kShortRung = 0.25;
constexpr std::int64_t kStepsToHalve = 100;

/// `samples` is one of the plan's. A method with one learning rate has nothing to search. Waits, with nothing ready,
/// for the search of the count before.
Search search(const StudyPlan& plan, const MethodPlan& method, std::int64_t samples, const FinishedTrials& finished);

/// The neighbours of a rate on the ladder, about a factor of the square root of ten away: 1, 3, 10; 1.5, 5, 15; any
/// other by that factor, to two digits.
double rate_above(double rate);
double rate_below(double rate);

}  // namespace dtrain::study
