#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "study/plan/plan.h"
#include "study/plan/trial.h"

namespace dtrain::study {

/// How long the trainings of a search are, as shares of a whole one's steps. A short one has a warm-up and a decay of
/// its own. It has a quarter of the steps, but at least kShortSteps: the fewer steps, the higher the rate that looks
/// best.
struct Rungs {
  /// Of the first rung.
  double first = 1;
  /// Whether the best two of it are then trained whole.
  bool then_whole = false;
};
constexpr double kShortest = 0.25;
constexpr std::int64_t kShortSteps = 40;
constexpr std::size_t kMostRetreats = 2;
/// How often a training of the study scores dev at most: a short one halfway and at its end.
std::int64_t most_evaluations(const Trial& trial);

/// Quick: the first rung alone, from which the rate of a whole training is inferred. Halving and fine: two rungs where
/// the first saves three quarters of the steps, else whole trainings alone. Whole ones alone, too, where the rates were
/// given.
Rungs rungs_of(const StudyPlan& plan, const MethodPlan& method, std::int64_t samples);

/// The search for the learning rate of a method at a sample count, as far as it has come: a function of the plan and of
/// the trials that ended, whoever ran them and in whatever order.
///
/// Successive halving (Jamieson and Talwalkar, 2016) on dev over a geometric ladder of rates, which widens: the rates
/// of the plan, at later counts the best one of the count before and its two neighbours, are tried on the first rung
/// (short trainings begin without the lowest of the plan's three: they want higher ones).
/// While the best of them is at an end, the next rate of the ladder is tried, too, as far as the method's range goes.
/// A quick search that is shorter than whole trainings takes the vertex of the parabola through the best and its
/// neighbours, in the logarithm of the rate, times the square root of the share of the steps: longer trainings want
/// lower rates (docs/study.md has what was measured). Where there is a second rung, the best and the better of its
/// neighbours are trained whole, and the best of those is chosen once both its neighbours have been tried on either
/// rung. A fine search tries whole trainings halfway to them, too. A trial that fails is worse than any that ends.
///
/// Of whole trainings the lowest rate is chosen that is within the plan's `alike` of the best: one seed does not tell
/// them apart, and trainings at a higher rate may collapse.
///
/// The results are heard, too, as far as dev goes: one search seed may like a rate at which others collapse. Where a
/// result at the rate failed or did no better on dev than a constant answer, or where all ended and are on average
/// worse than the search found the next lower rate to be, that rate gets the same seeds, at most kMostRetreats times;
/// what is then better on average is chosen.
struct Search {
  /// What can begin now and is not finished: trials that wait for nothing. Some may be under way.
  std::vector<Trial> ready;
  /// Every trial that it asked for so far, `ready` among them, ascending in length, then in learning rate.
  std::vector<Trial> asked;
  /// No trial is missing any more.
  bool done = false;
  /// Once done: the rate whose results count; none where no learning rate trained.
  std::optional<double> chosen;
  /// Once done: the rates whose results were asked for, descending, and the one of them whose results are wanted now.
  std::vector<double> with_results;
  std::optional<double> wanted;
  /// What is best before a fine search goes on, known earlier: the next count starts from it.
  bool ladder_done = false;
  std::optional<double> best_of_ladder;
  /// Whether the chosen rate is an end of the range, beyond which nothing may be tried.
  bool at_low_edge = false;
  bool at_high_edge = false;
};

/// `samples` is one of the plan's. A method with one learning rate has nothing to search. Waits, with nothing ready,
/// for the search of the count before.
Search search(const StudyPlan& plan, const MethodPlan& method, std::int64_t samples, const FinishedTrials& finished);

/// Every trial of a method at a count as far as it is known: what its search asked for, and the results.
std::vector<Trial> trials_asked(const StudyPlan& plan, const MethodPlan& method, std::int64_t samples,
                                const Search& found);

/// Those of the finished trials that belong to the plan: what its searches asked for, and the results at the rates that
/// they chose. Others are left from a study that had other methods, counts, rates or seeds.
FinishedTrials trials_of(const StudyPlan& plan, const FinishedTrials& finished);

/// The neighbours of a rate on the ladder, about a factor of the square root of ten away: 1, 3, 10; 1.5, 5, 15; any
/// other by that factor, to two digits.
double rate_above(double rate);
double rate_below(double rate);

}  // namespace dtrain::study
