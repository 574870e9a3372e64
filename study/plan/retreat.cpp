#include "study/plan/retreat.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "study/plan/chance.h"
#include "train/objective.h"

namespace dtrain::study {
namespace {

constexpr double kFailed = -std::numeric_limits<double>::infinity();

// What dev says of a trial, larger is better.
double value_of(const StudyPlan& plan, const TrialOutcome& outcome) {
  const double dev = outcome.metric("dev", plan.select_metric);
  if (std::isnan(dev)) return kFailed;
  return train::merit(plan.select_metric, dev);
}

// The results at a rate that ended, and what dev says of each.
struct Heard {
  std::vector<double> values;
  /// All seeds ended that every method has.
  bool complete = true;
  /// One failed, or learned nothing.
  bool broke = false;

  double mean() const {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  }
};

Heard heard(const StudyPlan& plan, const MethodPlan& method, std::int64_t samples, double rate,
            const FinishedTrials& finished) {
  Heard results;
  for (const std::uint64_t seed : plan.result_seeds) {
    const auto found = finished.find(Trial{Trial::Phase::result, method.method.text(), samples, rate, seed}.key());
    if (found == finished.end()) {
      results.complete = results.complete && plan.is_dropped(samples, seed);
      continue;
    }
    const TrialOutcome& outcome = found->second.second;
    results.values.push_back(value_of(plan, outcome));
    results.broke |= outcome.failed() || is_at_chance(plan, outcome, "dev", plan.dev_majority_share).value_or(false);
  }
  results.complete = results.complete && !results.values.empty();
  return results;
}

// What the search saw at its longest training of the next lower rate that it tried.
struct Below {
  double rate = 0;
  double length = 0;
  const TrialOutcome* outcome = nullptr;
};

std::optional<Below> below(const Search& found, double rate, const FinishedTrials& finished) {
  std::optional<Below> best;
  for (const Trial& asked : found.asked) {
    if (asked.learning_rate > rate * 0.999) continue;
    if (best && std::pair(asked.learning_rate, asked.length) < std::pair(best->rate, best->length)) continue;
    best = {asked.learning_rate, asked.length, &finished.at(asked.key()).second};
  }
  return best;
}

}  // namespace

void hear_results(const StudyPlan& plan, const MethodPlan& method, std::int64_t samples, const FinishedTrials& finished,
                  Search& found) {
  double rate = *found.chosen;
  Heard best;
  found.with_results = {rate};
  for (;;) {
    found.wanted = rate;
    const Heard results = heard(plan, method, samples, rate, finished);
    if (!results.complete && !results.broke) return;
    if (found.with_results.size() == 1) {
      best = results;
    } else if (results.mean() >= best.mean()) {  // of two that are equal the lower one
      best = results;
      found.chosen = rate;
      found.at_high_edge = false;
      found.at_low_edge = !below(found, rate, finished) &&
                          (!method.is_searched_wide() || rate_below(rate) < method.lowest * (1 - 1e-9));
    }
    found.wanted = found.chosen;
    if (found.with_results.size() > kMostRetreats) return;
    const auto lower = below(found, rate, finished);
    if (!lower) return;
    const bool learned = !lower->outcome->failed() &&
                         !is_at_chance(plan, *lower->outcome, "dev", plan.dev_majority_share).value_or(false);
    if (!learned || !(results.broke || value_of(plan, *lower->outcome) > results.mean())) return;
    rate = lower->rate;
    found.with_results.push_back(rate);
  }
}

}  // namespace dtrain::study
