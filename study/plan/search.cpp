#include "study/plan/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "study/plan/retreat.h"
#include "train/objective.h"
#include "train/options.h"

namespace dtrain::study {
namespace {

// 1.5e-4 -> {1.5, 1e-4}.
std::pair<double, double> digits_of(double rate) {
  const double power = std::pow(10.0, std::floor(std::log10(rate) + 1e-9));
  return {rate / power, power};
}

bool is_near(double a, double b) { return std::abs(a - b) < 1e-6 * b; }

// To two digits, as text would have it, so that a rate is the same number however it was reached.
double rounded(double digits, double power) {
  const double exponent = std::round(std::log10(power));
  const double hundredths = std::round(digits * 10);
  return exponent - 1 >= 0 ? hundredths * std::pow(10.0, exponent - 1) : hundredths / std::pow(10.0, 1 - exponent);
}

// The search of one method at one count, which asks for trials rung by rung.
class Halving {
 public:
  Halving(const StudyPlan& plan, const MethodPlan& method, std::int64_t samples, const FinishedTrials& finished)
      : plan_(plan), method_(method), samples_(samples), finished_(finished) {}

  Search from(const std::vector<double>& rates) {
    const Rungs rungs = rungs_of(plan_, method_, samples_);
    // Short trainings want higher rates than the method's own, which are of whole ones: the lowest waits until the
    // next one is the best.
    const bool waits_for_lowest = rungs.first < 1 && rates.size() == 3 && rates == method_.learning_rates;
    for (auto rate = rates.begin() + (waits_for_lowest ? 1 : 0); rate != rates.end(); ++rate) ask(*rate, rungs.first);
    widen(rungs.first);
    decisive_ = rungs.then_whole ? 1 : rungs.first;
    if (rungs.then_whole) {
      if (!waits()) promote(rungs_[rungs.first]);
      widen(1);
    }
    if (!waits()) {
      result_.ladder_done = true;
      result_.best_of_ladder = best_that_trained();
    }
    if (plan_.search == SearchDepth::fine && method_.is_searched_wide() && !waits()) refine();
    return finish();
  }

 private:
  using Rung = std::map<double, double>;  // rate -> what dev says, larger is better; -infinity: failed

  Trial trial(double rate, double length) const {
    return {Trial::Phase::search, method_.method.text(), samples_, rate, plan_.search_seed, length};
  }

  void ask(double rate, double length) {
    const Trial asked = trial(rate, length);
    if (rungs_[length].count(rate) > 0) return;
    const auto found = finished_.find(asked.key());
    double value = -std::numeric_limits<double>::infinity();
    if (found == finished_.end()) {
      result_.ready.push_back(asked);
    } else {
      const double dev = train::merit(plan_.select_metric, found->second.second.metric("dev", plan_.select_metric));
      if (!std::isnan(dev)) value = dev;
    }
    rungs_[length][rate] = value;
  }

  bool waits() const { return !result_.ready.empty(); }

  // The smaller of two that are equal.
  static double best_of(const Rung& rung) {
    return std::max_element(rung.begin(), rung.end(), [](const auto& a, const auto& b) { return a.second < b.second; })
        ->first;
  }

  static bool has_between(const Rung& rung, double low, double high) {
    const auto next = rung.upper_bound(low);
    return next != rung.end() && next->first < high;
  }
  bool was_tried(double low, double high) const {
    return std::any_of(rungs_.begin(), rungs_.end(),
                       [&](const auto& rung) { return has_between(rung.second, low, high); });
  }

  bool may_try(double rate) const {
    return method_.is_searched_wide() && rate >= method_.lowest * (1 - 1e-9) && rate <= method_.highest * (1 + 1e-9);
  }

  // Until the best of a rung has a neighbour on either side that was tried at any length.
  void widen(double length) {
    while (!waits()) {
      const double best = best_of(rungs_[length]);
      const double below = rate_below(best);
      const double above = rate_above(best);
      if (std::isinf(rungs_[length][best])) {
        // All failed, and `best` is the smallest: only smaller ones may help.
        if (!may_try(below)) return;
        ask(below, length);
      } else if (may_try(below) && !was_tried(below * 0.999, best)) {
        ask(below, length);
      } else if (may_try(above) && !was_tried(best, above * 1.001)) {
        ask(above, length);
      } else {
        return;
      }
    }
  }

  void promote(const Rung& rung) {
    const auto best = rung.find(best_of(rung));
    const auto after = std::next(best);
    const bool has_below = best != rung.begin();
    const bool has_above = after != rung.end();
    const double rate = best->first;
    double neighbour = rate;
    if (has_below && (!has_above || std::prev(best)->second >= after->second))
      neighbour = std::prev(best)->first;
    else if (has_above)
      neighbour = after->first;
    ask(rate, 1);
    ask(neighbour, 1);
  }

  // Between the best and what lies about a factor of the square root of ten away.
  void refine() {
    const double best = best_of(rungs_[1]);
    if (std::isinf(rungs_[1][best])) return;
    for (const double neighbour : {rate_below(best), rate_above(best)}) {
      if (!may_try(neighbour)) continue;
      const auto [digits, power] = digits_of(std::sqrt(best * neighbour));
      ask(rounded(digits, power), 1);
    }
  }

  std::optional<double> best_that_trained() {
    const Rung& rung = rungs_[decisive_];
    const double best = best_of(rung);
    return std::isinf(rung.at(best)) ? std::nullopt : std::optional(best);
  }

  double lowest_alike(double best) const {
    const Rung& rung = rungs_.at(decisive_);
    const double value = rung.at(best);
    return std::find_if(rung.begin(), rung.end(),
                        [&](const auto& entry) { return entry.second >= value - plan_.alike * std::abs(value); })
        ->first;
  }

  // What a whole training wants, from the shorter ones of the only rung.
  double inferred(double best) const {
    const Rung& rung = rungs_.at(decisive_);
    const auto place = rung.find(best);
    double vertex = std::log(best);
    if (place != rung.begin() && std::next(place) != rung.end()) {
      const auto [low, low_value] = *std::prev(place);
      const auto [high, high_value] = *std::next(place);
      const double below = std::log(best / low);
      const double above = std::log(high / best);
      // Slopes on both sides; the best is no worse than its neighbours, so the vertex lies between them. A neighbour
      // that failed says nothing of the shape.
      const double rise = (place->second - low_value) / below;
      const double fall = (place->second - high_value) / above;
      if (std::isfinite(rise) && std::isfinite(fall) && rise + fall > 0)
        vertex += 0.5 * (rise * above - fall * below) / (rise + fall);
    }
    const auto [digits, power] = digits_of(std::exp(vertex) * std::sqrt(decisive_));
    return rounded(digits, power);
  }

  Search finish() {
    for (const auto& [length, rung] : rungs_) {
      for (const auto& [rate, value] : rung) result_.asked.push_back(trial(rate, length));
    }
    result_.done = result_.ready.empty();
    if (!result_.done) return std::move(result_);
    const auto found = best_that_trained();
    if (!found) return std::move(result_);
    const double best = decisive_ < 1 ? *found : lowest_alike(*found);
    result_.chosen = decisive_ < 1 ? inferred(best) : best;
    const auto tried_below = [&](const auto& entry) { return entry.second.begin()->first < best; };
    const auto tried_above = [&](const auto& entry) { return std::prev(entry.second.end())->first > best; };
    result_.at_low_edge = std::none_of(rungs_.begin(), rungs_.end(), tried_below) && !may_try(rate_below(best));
    result_.at_high_edge = std::none_of(rungs_.begin(), rungs_.end(), tried_above);
    return std::move(result_);
  }

  const StudyPlan& plan_;
  const MethodPlan& method_;
  std::int64_t samples_;
  const FinishedTrials& finished_;
  double decisive_ = 1;  // the length that chooses
  std::map<double, Rung> rungs_;
  Search result_;
};

}  // namespace

Rungs rungs_of(const StudyPlan& plan, const MethodPlan& method, std::int64_t samples) {
  const auto steps = plan.steps.find(samples);
  if (!method.is_searched_wide() || steps == plan.steps.end()) return {1, false};
  const double first = std::max(kShortest, static_cast<double>(kShortSteps) / static_cast<double>(steps->second));
  if (first >= 1) return {1, false};
  if (plan.search == SearchDepth::quick) return {first, false};
  return first > kShortest ? Rungs{1, false} : Rungs{first, true};
}

std::int64_t most_evaluations(const Trial& trial) {
  return trial.length < 1 ? 2 : train::TrainOptions().most_evaluations;
}

double rate_above(double rate) {
  const auto [digits, power] = digits_of(rate);
  if (is_near(digits, 1)) return rounded(3, power);
  if (is_near(digits, 1.5)) return rounded(5, power);
  if (is_near(digits, 3)) return rounded(10, power);
  if (is_near(digits, 5)) return rounded(15, power);
  return rounded(digits * std::sqrt(10), power);
}

double rate_below(double rate) {
  const auto [digits, power] = digits_of(rate);
  if (is_near(digits, 1)) return rounded(3, power / 10);
  if (is_near(digits, 1.5)) return rounded(5, power / 10);
  if (is_near(digits, 3)) return rounded(1, power);
  if (is_near(digits, 5)) return rounded(1.5, power);
  const auto [lower, of] = digits_of(rate / std::sqrt(10));
  return rounded(lower, of);
}

Search search(const StudyPlan& plan, const MethodPlan& method, std::int64_t samples, const FinishedTrials& finished) {
  if (method.learning_rates.size() == 1) {
    Search known;
    known.done = known.ladder_done = true;
    known.best_of_ladder = known.chosen = known.wanted = method.learning_rates[0];
    known.with_results = method.learning_rates;
    return known;
  }
  std::vector<double> rates = method.learning_rates;
  const auto place = std::find(plan.samples.begin(), plan.samples.end(), samples);
  if (place != plan.samples.begin() && method.is_searched_wide()) {
    const Search before = search(plan, method, *std::prev(place), finished);
    if (!before.ladder_done) return {};
    if (before.best_of_ladder) {
      const double best = *before.best_of_ladder;
      rates = {best};
      if (const double below = rate_below(best); below >= method.lowest * (1 - 1e-9)) rates.push_back(below);
      if (const double above = rate_above(best); above <= method.highest * (1 + 1e-9)) rates.push_back(above);
    }
  }
  Search found = Halving(plan, method, samples, finished).from(rates);
  if (found.chosen) hear_results(plan, method, samples, finished, found);
  return found;
}

std::vector<Trial> trials_asked(const StudyPlan& plan, const MethodPlan& method, std::int64_t samples,
                                const Search& found) {
  std::vector<Trial> trials = found.asked;
  for (const double rate : found.with_results) {
    const auto results = result_trials(plan, method, samples, rate);
    trials.insert(trials.end(), results.begin(), results.end());
  }
  return trials;
}

FinishedTrials trials_of(const StudyPlan& plan, const FinishedTrials& finished) {
  FinishedTrials of_plan;
  for (const std::int64_t samples : plan.samples) {
    for (const MethodPlan& method : plan.methods) {
      for (const Trial& trial : trials_asked(plan, method, samples, search(plan, method, samples, finished))) {
        const auto found = finished.find(trial.key());
        if (found != finished.end()) of_plan.insert(*found);
      }
    }
  }
  return of_plan;
}

}  // namespace dtrain::study
