#include "study/statistics/decision.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace dtrain::study {
namespace {

// Training times that differ by less are taken as equal: they would not come in the same order again.
constexpr double kSameCost = 1.05;
constexpr std::int64_t kMostSeedsAsked = 50;

std::int64_t examples_of(const Contest& contest) {
  for (std::size_t first = 0; first < contest.candidates().size(); ++first) {
    for (std::size_t second = 0; second < first; ++second) {
      if (const auto& difference = contest.difference(first, second)) return difference->examples;
    }
  }
  return 0;
}

std::optional<std::int64_t> fewest_seeds_to_decide(const Contest& contest, double more_examples, std::int64_t most) {
  for (std::int64_t more = 1; more <= most; ++more) {
    if (decide(contest.projected(more, more_examples)).decided()) return more;
  }
  return std::nullopt;
}

}  // namespace

bool is_tie(double left, double right) { return std::abs(left - right) < 1e-12; }

Contest::Contest(std::vector<Candidate> candidates, double margin, std::size_t family, double level)
    : candidates_(std::move(candidates)),
      pairs_(candidates_.size() * candidates_.size()),
      margin_(margin),
      family_(family),
      level_(level) {}

void Contest::set(std::size_t first, std::size_t second, const PairedDifference& difference, double adjusted_p) {
  if (difference.seeds < 2) return;
  pairs_[first * candidates_.size() + second] = {difference, adjusted_p};
  pairs_[second * candidates_.size() + first] = {difference.reversed(), adjusted_p};
}

const std::optional<PairedDifference>& Contest::difference(std::size_t first, std::size_t second) const {
  return pair(first, second).difference;
}

bool Contest::is_better(std::size_t first, std::size_t second) const {
  const Pair& found = pair(first, second);
  return found.difference && found.difference->mean > 0 && found.adjusted_p < level_;
}

Contest Contest::projected(std::int64_t more_seeds, double more_examples) const {
  Contest result(candidates_, margin_, family_, level_);
  for (std::size_t first = 0; first < candidates_.size(); ++first) {
    for (std::size_t second = first + 1; second < candidates_.size(); ++second) {
      const auto& known = difference(first, second);
      if (!known) continue;
      const PairedDifference expected = known->projected(more_seeds, more_examples);
      // The first of Holm's steps, for want of the other pairs of the family.
      result.set(first, second, expected, std::min(1.0, expected.p_value() * static_cast<double>(family_)));
    }
  }
  return result;
}

Contest Contest::at_level(double level) const {
  Contest result = *this;
  result.level_ = level;
  return result;
}

Decision decide(const Contest& contest) {
  const auto& candidates = contest.candidates();
  Decision decision;
  decision.methods.resize(candidates.size());
  std::vector<std::size_t> contenders;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].collapsed) {
      decision.methods[i] = {Standing::collapsed, std::numeric_limits<double>::quiet_NaN(), 1, {}};
    } else {
      contenders.push_back(i);
    }
  }
  if (contenders.empty()) return decision;
  const auto cheaper = [&](std::size_t left, std::size_t right) {
    return candidates[left].train_seconds < candidates[right].train_seconds;
  };
  const auto better = [&](std::size_t left, std::size_t right) {
    const auto [mean, other] = std::pair(candidates[left].mean, candidates[right].mean);
    return is_tie(mean, other) ? cheaper(left, right) : mean > other;
  };
  decision.best = *std::min_element(contenders.begin(), contenders.end(), better);

  std::vector<double> p_values;
  for (const std::size_t method : contenders) {
    double largest = 0;
    for (const std::size_t other : contenders) {
      if (other == method || std::isnan(largest)) continue;
      const auto& difference = contest.difference(method, other);
      largest = difference ? std::max(largest, difference->probability_below(-contest.margin()))
                           : std::numeric_limits<double>::quiet_NaN();
    }
    p_values.push_back(largest);
  }
  const auto adjusted = holm_but_one(p_values);
  std::vector<std::size_t> as_good;
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    const std::size_t method = contenders[i];
    Judgement& judgement = decision.methods[method];
    judgement.within_margin = 1 - p_values[i];
    judgement.adjusted_p = adjusted[i];
    if (method != *decision.best) judgement.loss = contest.difference(*decision.best, method);
    if (adjusted[i] < contest.level()) {
      judgement.standing = Standing::as_good;
      as_good.push_back(method);
    } else if (std::any_of(contenders.begin(), contenders.end(),
                           [&](std::size_t other) { return contest.is_better(other, method); })) {
      judgement.standing = Standing::worse;
    }
  }
  if (!as_good.empty()) {
    const double least = candidates[*std::min_element(as_good.begin(), as_good.end(), cheaper)].train_seconds;
    for (const std::size_t method : as_good) {
      if (candidates[method].train_seconds > kSameCost * least) continue;
      if (!decision.advised || better(method, *decision.advised)) decision.advised = method;
    }
  }
  for (const std::size_t method : contenders) {
    if (decision.methods[method].standing != Standing::undecided) continue;
    if (!decision.advised || cheaper(method, *decision.advised)) decision.open.push_back(method);
  }
  return decision;
}

Remedy remedy(const Contest& contest) {
  const auto fewest_seeds = [&](double more_examples) {
    return fewest_seeds_to_decide(contest, more_examples, kMostSeedsAsked);
  };
  const auto in_all = [&](double more) { return std::llround(static_cast<double>(examples_of(contest)) * more); };
  if (const auto seeds = fewest_seeds(1)) return {seeds, std::nullopt};
  const std::vector<double> multiples = {1.5, 2, 3, 5, 10, 20, 50, 100};
  for (const double more : multiples) {
    if (decide(contest.projected(0, more)).decided()) return {std::nullopt, in_all(more)};
  }
  for (const double more : multiples) {
    if (const auto seeds = fewest_seeds(more)) return {seeds, in_all(more)};
  }
  return {};
}

std::optional<std::int64_t> added_seeds_to_decide(const Contest& contest, std::int64_t most) {
  return fewest_seeds_to_decide(contest.at_level(kLevelWithAddedSeeds), 1, most);
}

}  // namespace dtrain::study
