#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "study/statistics/statistics.h"

namespace dtrain::study {

/// A method of a decision: what it reached at one sample count on one set, and what it costs.
struct Candidate {
  std::string method;
  /// Of the metric, over the seeds; its negative where less of it is better.
  double mean = 0;
  double train_seconds = 0;
  /// Every seed that ended learned nothing. Such a method is neither best nor advised.
  bool collapsed = false;
};

/// What is shown at a sample count is shown at this level, over the methods (as good) or over the pairs (better,
/// worse): so that there at most 5 of 100 studies advise a method that is truly too bad, or call one worse that is not.
/// A decision is looked at again after each seed that it is given because it hangs on it, and errs as rarely with a
/// stricter level from the first of them on (docs/statistics.md).
constexpr double kLevel = 0.05;
constexpr double kLevelWithAddedSeeds = 0.005;

/// Means that differ by the rounding of their sums alone.
bool is_tie(double left, double right);

/// What a decision is made from.
class Contest {
 public:
  /// `margin`: the loss that does not matter, as a share (0.01 is a point). `family`: how many pairs the p-values are
  /// adjusted over. `level`: kLevel or kLevelWithAddedSeeds.
  Contest(std::vector<Candidate> candidates, double margin, std::size_t family, double level = kLevel);

  /// Sets first minus second (indices of candidates), and its two-sided p-value, adjusted over the family.
  void set(std::size_t first, std::size_t second, const PairedDifference& difference, double adjusted_p);

  const std::vector<Candidate>& candidates() const { return candidates_; }
  double margin() const { return margin_; }
  double level() const { return level_; }
  /// First minus second; nothing where it was not set, or too few seeds ended in both.
  const std::optional<PairedDifference>& difference(std::size_t first, std::size_t second) const;
  /// Whether first is shown to be better than second, at the level for the whole family.
  bool is_better(std::size_t first, std::size_t second) const;
  /// What is to be expected with more seeds and `more_examples` times as many examples, at the same level.
  Contest projected(std::int64_t more_seeds, double more_examples) const;
  Contest at_level(double level) const;

 private:
  struct Pair {
    std::optional<PairedDifference> difference;
    double adjusted_p = 1;
  };
  const Pair& pair(std::size_t first, std::size_t second) const { return pairs_[first * candidates_.size() + second]; }

  std::vector<Candidate> candidates_;
  std::vector<Pair> pairs_;
  double margin_;
  std::size_t family_;
  double level_;
};

/// as_good: shown to lose no more than the margin to any other method. worse: not that, and another is shown to be
/// better. collapsed: nothing was learned. undecided: the rest.
enum class Standing { as_good, worse, undecided, collapsed };

/// What is said of one method.
struct Judgement {
  Standing standing = Standing::undecided;
  /// The probability that it loses no more than the margin to any single other method, the one that is hardest to rule
  /// out. NaN where a pair has no difference, or the method collapsed.
  double within_margin = 0;
  /// One minus that, adjusted over the methods (holm_but_one): as good below the contest's level.
  double adjusted_p = 0;
  /// The method with the highest mean minus this one. Nothing for the former, and where it is not known.
  std::optional<PairedDifference> loss;
};

/// What a study says at one sample count.
struct Decision {
  /// In the order of the candidates.
  std::vector<Judgement> methods;
  /// The highest mean of those that have not collapsed, the cheaper one of equals.
  std::optional<std::size_t> best;
  /// The cheapest of those as good; of those that cost the same within 5 %, the one with the highest mean. Names a
  /// method that is truly worse than another by more than the margin in at most 5 % of studies (docs/statistics.md), at
  /// this count: a study of several counts names such a method at one of them more often.
  std::optional<std::size_t> advised;
  /// Contenders whose standing could still change the advice: those that are undecided and cheaper than the advised
  /// one; all that are undecided where none is advised.
  std::vector<std::size_t> open;

  bool decided() const { return advised.has_value() && open.empty(); }
  /// What to take now: the advised method, or else the one with the highest mean.
  std::optional<std::size_t> taken() const { return advised ? advised : best; }
};

/// Non-inferiority with margin (docs/statistics.md).
Decision decide(const Contest& contest);

/// What would decide an open question, to be expected from the variance components if the means stay as they are. Both
/// empty where not even fifty more seeds on a hundred times as many examples would.
struct Remedy {
  /// More seeds of each method, on the same examples.
  std::optional<std::int64_t> more_seeds;
  /// How many examples in all, with the same seeds where more_seeds is empty.
  std::optional<std::int64_t> examples;
};

/// Seeds alone if up to fifty more will do, else examples alone, else both.
Remedy remedy(const Contest& contest);

/// How many seeds, no more than `most`, decide an open question where a study adds them one after the other and looks
/// again after each (kLevelWithAddedSeeds); to be expected as above. Unset where so many are not expected to.
std::optional<std::int64_t> added_seeds_to_decide(const Contest& contest, std::int64_t most);

}  // namespace dtrain::study
