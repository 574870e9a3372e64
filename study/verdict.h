#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "study/analysis.h"
#include "study/plan.h"

namespace dtrain::study {

/// What a study says at one sample count, in plain words.
struct Verdict {
  std::int64_t samples = 0;
  /// One paragraph a set: which method is best, by how much, and which are not told apart.
  std::vector<std::string> findings;
  /// What to take: the cheapest method that no other is shown to beat on test, and what to give up where that is too
  /// much. Out of domain where another is shown to be better there.
  std::string advice;
  /// The advised method; empty where there is none.
  std::string advised;
  /// Edges of grids, collapsed and failed seeds.
  std::vector<std::string> warnings;
};

/// The answer to "should I fine-tune the whole model, freeze it, or use a parameter-efficient method". A difference is
/// claimed only where it is shown at 5 % over the whole family of pairs; else what the intervals rule out is said.
std::vector<Verdict> verdicts(const StudyPlan& plan, const Findings& findings);

/// Where the answer changes with the number of samples; that one sample count cannot show it.
std::string trend(const std::vector<Verdict>& verdicts);

nlohmann::json verdict_json(const std::vector<Verdict>& verdicts);

/// What a set can show at best, before anything has run: the difference that its examples resolve where methods
/// disagree on 6 % of them.
std::string resolution_text(const EvaluationSet& set);

/// As a person writes it: 5e-05 -> "5e-5", 0.0015 -> "0.0015".
std::string rate_text(double learning_rate);

}  // namespace dtrain::study
