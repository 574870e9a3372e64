#include "study/plan/chance.h"

#include <cmath>

#include "train/objective.h"

namespace dtrain::study {
namespace {

constexpr double kChanceScore = 0.01;  // above what the best constant answer has
constexpr double kChanceMatthews = 0.05;

}  // namespace

std::optional<bool> is_at_chance(const StudyPlan& plan, const TrialOutcome& outcome, const std::string& set,
                                 double untrained) {
  const double score = outcome.metric(set, train::objective_of(plan.problem_type).score_metric());
  if (std::isnan(score)) return std::nullopt;
  // Where one class is most of the data, a useful model is hardly more accurate: it must be uncorrelated, too.
  const double matthews = outcome.metric(set, "matthews");
  return score <= untrained + kChanceScore && !(matthews > kChanceMatthews);
}

}  // namespace dtrain::study
