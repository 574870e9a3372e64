#pragma once

#include <string>
#include <vector>

#include "study/findings/analysis.h"
#include "study/plan/plan.h"

namespace dtrain::study {

/// The words of a decision: what is undecided, and what would decide it, first; then what to take, what the cheaper
/// methods would give up, and where inputs unlike the training data ask for another one.
std::string advice_text(const StudyPlan& plan, const Findings& findings, const CountDecision& decision);

/// Of that: what is undecided, and what would decide it; empty where all is decided.
std::string undecided_text(const StudyPlan& plan, const CountDecision& decision);
/// Of that: which methods are shown to be better than what is taken on sets unlike the training data; empty for none.
std::string out_of_domain_text(const StudyPlan& plan, const Findings& findings, const CountDecision& decision);

/// Why a method that is_alone has no rival: "every other method collapsed", or, where a method of the plan is not in
/// the decision, "every other method collapsed or has too few results".
std::string no_rival_text(const StudyPlan& plan, const CountDecision& decision);

/// Whether a mean of the plan's metric is no better than the best answer that is always the same, where that is known.
bool knows_nothing(const StudyPlan& plan, const EvaluationSet& set, double mean);

/// Which sets no method is of any use on, at a count: none does better there than one answer for all. Empty: none such.
std::string constant_answers_text(const StudyPlan& plan, const Findings& findings, std::int64_t samples);

/// Of a learning rate at an edge: "0.01, is the largest that was tried"; of one that a quick search inferred: "0.0063,
/// is inferred from the largest that was tried, 0.01".
std::string edge_text(const Cell& cell);

/// Why there is no decision at a sample count.
std::string no_advice_text(const StudyPlan& plan, const Findings& findings, std::int64_t samples);

/// Where the answer changes with the number of samples, and how well that is known; that one sample count cannot show
/// it.
std::string trend_text(const StudyPlan& plan, const Findings& findings);

}  // namespace dtrain::study
