#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/table.h"
#include "study/page/html.h"
#include "study/report/report.h"

/// The figures of a study, each from what the report holds; where nothing was measured there is none. A method has the
/// same colour, dashes and marker in all of them: those of its place in the plan. The report must outlive them.
namespace dtrain::study::page {

/// The sample count that the page's answer is about: the largest with a decision, else the largest with a result, else
/// the plan's largest.
std::int64_t answered_samples(const Report& report);

/// What others are compared with: full fine-tuning where the plan has it, else its first method.
std::string reference_method(const StudyPlan& plan);

/// The plan's metric on each set, with each seed: over the sample counts, or method by method where there is one count.
std::vector<Figure> quality_figures(const Report& report);
/// What each method is better by than the reference, in points, on each set, with the margin; outlined what is not
/// shown over all pairs.
std::vector<Figure> difference_figures(const Report& report);
/// The plan's metric on test against seconds of training at the answered count, with the Pareto front.
std::vector<Figure> cost_figures(const Report& report);

/// What the search found on dev for each learning rate, with the chosen one and those that were left after their
/// results, by sample count.
std::vector<Figure> search_figures(const Report& report);
/// dev while the results trained, means over the seeds, by sample count.
std::vector<Figure> curve_figures(const Report& report);
/// Each measure of what was forgotten against the plan's metric on test, at the answered count.
std::vector<Figure> forgetting_figures(const Report& report);
/// The share of runs that learned nothing or failed, of the methods that had such runs.
std::vector<Figure> collapse_figures(const Report& report);

/// What the taken method gains and loses on each class of the test set, against the reference (or, where it is that
/// itself, against the best of the others).
std::vector<Figure> class_figures(const Report& report);
/// F1 of each class of the test set in percent, a column for each method with results at that count that kept what
/// they answered; without rows where there are none.
Table class_table(const Report& report, std::int64_t samples);

/// Which group of ranks ran what when.
std::vector<Figure> timeline_figures(const Report& report);

/// Over what differences are shown: "all 3 pairs", of the set at each of the sample counts; "all pairs" where their
/// numbers differ. Empty where no count has two.
std::string all_pairs(const Findings& findings, const std::string& set, const std::vector<std::int64_t>& counts);
/// The place of a method in the plan.
std::size_t style_of(const StudyPlan& plan, const std::string& method);
/// "accuracy, %", "log-loss": the metric as axes name it, and how many of its units they show a value of 1 as.
std::string metric_axis(const std::string& metric);
double metric_scale(const std::string& metric);
/// "on test", "on web (out of domain)".
std::string where(const std::string& set);

}  // namespace dtrain::study::page
