#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "study/findings/analysis.h"
#include "study/plan/plan.h"
#include "study/plan/trial.h"

namespace dtrain::study {

/// What a method has of one class of a set, over its seeds.
struct ClassScore {
  /// Of the model's outputs.
  std::int32_t label = 0;
  /// Of the class in the set.
  std::int64_t examples = 0;
  SeedMean precision;
  SeedMean recall;
  SeedMean f1;
};

/// A table of more is for nobody to read, and makes most of a report's bytes.
constexpr std::size_t kMostClassesOfScores = 500;

/// Of each class that occurs in the set, in the order of the outputs, over the seeds of a cell that ended. Empty where
/// the answers are no classes, where more than kMostClassesOfScores of them occur, or where no result kept them (a
/// journal of an earlier version).
std::vector<ClassScore> class_scores(const StudyPlan& plan, const FinishedTrials& finished, const Cell& cell,
                                     const EvaluationSet& set);

}  // namespace dtrain::study
