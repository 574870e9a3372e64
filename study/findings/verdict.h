#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "study/findings/analysis.h"
#include "study/plan/plan.h"

namespace dtrain::study {

/// What a study says at one sample count, in plain words.
struct Verdict {
  std::int64_t samples = 0;
  /// One paragraph a set: which method has the best mean, by how much; which pairs' intervals leave out zero though
  /// nothing is shown over all pairs; and which methods are not told apart.
  std::vector<std::string> findings;
  /// What to take, by the rule of docs/statistics.md, or what is missing to say so.
  std::string advice;
  /// The advised method; empty where there is none.
  std::string advised;
  /// The best guess where none is advised.
  std::string best_guess;
  /// Edges of grids, collapsed and failed seeds, uneven classes.
  std::vector<std::string> warnings;
};

/// The answer to "should I fine-tune the whole model, freeze it, or use a parameter-efficient method". A difference is
/// claimed only where it is shown over all pairs of the set at the count; else what the intervals rule out is said.
std::vector<Verdict> verdicts(const StudyPlan& plan, const Findings& findings);

/// `verdict` of results.json: the words, and the decisions behind them.
nlohmann::json verdict_json(const StudyPlan& plan, const Findings& findings, const std::vector<Verdict>& verdicts);

}  // namespace dtrain::study
