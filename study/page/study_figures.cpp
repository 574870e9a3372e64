#include "study/page/study_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "study/findings/words.h"
#include "train/objective.h"

namespace dtrain::study::page {

std::int64_t answered_samples(const Report& report) {
  const auto& decisions = report.findings.decisions;
  const auto last = std::find_if(decisions.rbegin(), decisions.rend(),
                                 [](const CountDecision& count) { return count.decision.taken().has_value(); });
  if (last != decisions.rend()) return last->samples;
  return report.verdicts.empty() ? report.plan.samples.back() : report.verdicts.back().samples;
}

std::string reference_method(const StudyPlan& plan) {
  for (const MethodPlan& method : plan.methods) {
    if (method.method.text() == "full") return "full";
  }
  return plan.methods.at(0).method.text();
}

std::string all_pairs(const Findings& findings, const std::string& set, const std::vector<std::int64_t>& counts) {
  std::set<std::size_t> numbers;
  for (const std::int64_t samples : counts) {
    if (const std::size_t pairs = findings.pairs(set, samples); pairs > 0) numbers.insert(pairs);
  }
  if (numbers.empty() || *numbers.rbegin() < 2) return "";
  return numbers.size() == 1 ? fmt::format("all {} pairs", *numbers.begin()) : "all pairs";
}

std::size_t style_of(const StudyPlan& plan, const std::string& method) {
  const auto found = std::find_if(plan.methods.begin(), plan.methods.end(),
                                  [&](const MethodPlan& candidate) { return candidate.method.text() == method; });
  return static_cast<std::size_t>(found - plan.methods.begin());
}

std::string metric_axis(const std::string& metric) {
  return train::metric_kind(metric).is_share ? metric_words(metric) + ", %" : metric_words(metric);
}

double metric_scale(const std::string& metric) { return train::metric_kind(metric).is_share ? 100 : 1; }

std::string where(const std::string& set) {
  return set == "test" ? "on test" : fmt::format("on {} (out of domain)", set.substr(set.find('.') + 1));
}

}  // namespace dtrain::study::page
