#include "study/plan/budget.h"

#include <algorithm>
#include <utility>

namespace dtrain::study {
namespace {

void set_seeds(StudyPlan& plan, std::int64_t count) {
  plan.result_seeds.clear();
  for (std::int64_t i = 1; i <= count; ++i)
    plan.result_seeds.push_back(plan.search_seed + static_cast<std::uint64_t>(i));
}

// Grows a plan while it fits.
class Fitting {
 public:
  Fitting(StudyPlan plan, const PlanFreedom& freedom, const std::vector<MethodForecast>& forecasts, TrialSizes sizes,
          int groups, double seconds)
      : freedom_(freedom), forecasts_(forecasts), sizes_(sizes), groups_(groups), seconds_(seconds) {
    fitted_.plan = std::move(plan);
  }

  FittedPlan fit() {
    StudyPlan plan = fitted_.plan;
    if (freedom_.samples) plan.samples = {std::min<std::int64_t>(1000, freedom_.available)};
    if (freedom_.seeds) set_seeds(plan, 3);
    if (freedom_.search) plan.search = SearchDepth::quick;
    if (!take(plan)) {
      if (freedom_.seeds) set_seeds(plan, 2);
      if (!take(plan)) {
        if (freedom_.samples) plan.samples = {std::min<std::int64_t>(100, freedom_.available)};
        fitted_.fits = take(plan);
        if (!fitted_.fits) keep(std::move(plan));
      }
    }
    if (!fitted_.fits) return std::move(fitted_);
    const bool all_counts = !freedom_.samples || add_counts();
    bool all_seeds = true;
    if (freedom_.seeds) {
      for (auto seeds = static_cast<std::int64_t>(fitted_.plan.result_seeds.size()) + 1; seeds <= kMostSeeds; ++seeds) {
        StudyPlan more = fitted_.plan;
        set_seeds(more, seeds);
        all_seeds = take(more);
        if (!all_seeds) break;
      }
    }
    if (!all_counts && all_seeds) add_counts_between();
    if (freedom_.search) {
      for (const SearchDepth depth : {SearchDepth::halving, SearchDepth::fine}) {
        StudyPlan deeper = fitted_.plan;
        deeper.search = depth;
        if (!take(deeper)) break;
      }
    }
    StudyPlan whole = fitted_.plan;
    score_many(whole, freedom_);
    sizes_.scored += examples_of(whole.sets) - examples_of(fitted_.plan.sets);
    if (whole.scores_many) take(whole);
    return std::move(fitted_);
  }

 private:
  // Tenfold steps; whether all of them fit.
  bool add_counts() {
    const std::int64_t first = fitted_.plan.samples.front();
    if (first > 100) try_count(100);
    std::int64_t last = first;
    // The last tenfold step goes to all there is; two counts close together say little more than one.
    while (last * 2 <= freedom_.available) {
      const std::int64_t next = last * 20 > freedom_.available ? freedom_.available : last * 10;
      if (!try_count(next)) return false;
      last = next;
    }
    return true;
  }

  // Half decades: that beyond the largest count, then those between the others, the largest first.
  void add_counts_between() {
    const std::vector<std::int64_t> counts = fitted_.plan.samples;
    for (std::size_t i = counts.size(); i > 0; --i) {
      const std::int64_t between = 3 * counts[i - 1];
      if (between <= (i < counts.size() ? counts[i] / 2 : freedom_.available)) take(with_count(between));
    }
  }

  StudyPlan with_count(std::int64_t count) const {
    StudyPlan more = fitted_.plan;
    more.samples.push_back(count);
    std::sort(more.samples.begin(), more.samples.end());
    return more;
  }

  // With a seed less where that lets it fit: a further count says more than a third seed.
  bool try_count(std::int64_t count) {
    StudyPlan more = with_count(count);
    if (take(more)) return true;
    if (!freedom_.seeds || more.samples.size() > 2 || more.result_seeds.size() < 3) return false;
    set_seeds(more, 2);
    return take(more);
  }

  bool take(const StudyPlan& candidate) {
    StudyPlan plan = candidate;
    plan.steps.clear();
    for (const std::int64_t samples : plan.samples) plan.steps[samples] = freedom_.steps(samples);
    sizes_.seeds = static_cast<std::int64_t>(plan.result_seeds.size());
    const Simulation simulation = simulate_plan(plan, {}, forecasts_, sizes_, groups_);
    if (simulation.seconds > seconds_ * (1 - kReserve)) return false;
    fitted_.plan = std::move(plan);
    fitted_.simulation = simulation;
    return true;
  }

  void keep(StudyPlan plan) {
    const double all = std::exchange(seconds_, 1e300);
    take(plan);
    seconds_ = all;
  }

  const PlanFreedom& freedom_;
  const std::vector<MethodForecast>& forecasts_;
  TrialSizes sizes_;
  int groups_;
  double seconds_;
  FittedPlan fitted_;
};

}  // namespace

void score_many(StudyPlan& plan, const PlanFreedom& freedom) {
  if (freedom.many_sets.empty()) return;
  plan.sets = freedom.many_sets;
  plan.identity = freedom.many_identity;
  plan.scores_many = true;
}

FittedPlan fit_plan(const StudyPlan& plan, const PlanFreedom& freedom, const std::vector<MethodForecast>& forecasts,
                    TrialSizes sizes, int groups, double seconds) {
  return Fitting(plan, freedom, forecasts, sizes, groups, seconds).fit();
}

Simulation simulate_plan(const StudyPlan& plan, const FinishedTrials& finished,
                         const std::vector<MethodForecast>& forecasts, const TrialSizes& sizes, int groups) {
  const TimeLeft times(plan, forecasts, sizes);
  return simulate(
      plan, Schedule(plan, finished), [&](const Trial& trial) { return times.seconds(trial); }, groups);
}

}  // namespace dtrain::study
