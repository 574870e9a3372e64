#include "study/words.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/log.h"
#include "train/objective.h"

namespace dtrain::study {

std::string points(double share) {
  const std::string text = fmt::format("{:.1f}", 100 * share);
  return text == "-0.0" ? "0.0" : text;
}

std::string signed_points(double share) {
  const std::string text = points(share);
  return text == "0.0" || text[0] == '-' ? text : "+" + text;
}

std::string interval_points(const PairedDifference& difference) {
  const Interval interval = difference.interval(0.95);
  if (std::abs(difference.mean) > 1) return fmt::format("{} to {}", points(interval.low), points(interval.high));
  return fmt::format("{} to {}", points(std::max(-1.0, interval.low)), points(std::min(1.0, interval.high)));
}

std::string listed(const std::vector<std::string>& names) {
  if (names.size() < 2) return fmt::format("{}", fmt::join(names, ""));
  return fmt::format("{} and {}", fmt::join(names.begin(), names.end() - 1, ", "), names.back());
}

std::string metric_words(const std::string& metric) {
  if (metric == "balanced_accuracy") return "balanced accuracy";
  return metric == "matthews" ? "Matthews correlation" : train::metric_kind(metric).title;
}

bool is_before(const std::string& measure) { return measure.ends_with("_before"); }

std::string forgetting_words(const std::string& measure) {
  static const std::map<std::string, std::string> kWords = {{"mrr", "retrieval (MRR)"},
                                                            {"mlm_loss", "masked-language-model loss"},
                                                            {"cka", "states alike (CKA)"},
                                                            {"cka_last", "last layer alike (CKA)"},
                                                            {"similarity_agreement", "similarities agree"},
                                                            {"first_task", "first task after the next"},
                                                            {"backward_transfer", "backward transfer"},
                                                            {"next_task", "next task"}};
  const auto known = kWords.find(measure);
  if (known != kWords.end()) return known->second;
  std::string words = measure;
  std::replace(words.begin(), words.end(), '_', ' ');
  return words;
}

std::string probability_text(double probability) {
  if (probability < 0.01) return "< 1 %";
  if (probability > 0.99) return "> 99 %";
  return fmt::format("{:.0f} %", 100 * probability);
}

std::string rate_text(double learning_rate) {
  std::string text = fmt::format("{:g}", learning_rate);
  const std::size_t zero = text.find("e-0");
  if (zero != std::string::npos) text.erase(zero + 2, 1);
  return text;
}

std::string resolution_text(const EvaluationSet& set, std::int64_t seeds) {
  std::string text = fmt::format("{}: {} examples resolve differences of about {} points at best", set.name,
                                 count_text(set.examples), points(resolution(set.examples, 0.06)));
  if (seeds < 2) return text + "; one seed says nothing of other seeds";
  PairedDifference difference;
  difference.seeds = seeds;
  difference.examples = set.examples;
  difference.example_variance = 0.06 / static_cast<double>(set.examples);
  difference.rest_variance = 0.0;
  difference.seed_variance = 0.01 * 0.01 / static_cast<double>(seeds);
  return text +
         fmt::format(", of {} with {} seeds that scatter by a point", points(difference.half_width(0.95)), seeds);
}

std::string forecast_text(const StudyPlan& plan, const RunFacts& facts, double idle_share, bool fits) {
  const std::string groups =
      facts.groups == 1
          ? fmt::format("on {} rank{} at once", facts.ranks_per_trial, facts.ranks_per_trial == 1 ? "" : "s")
          : fmt::format("by {} groups of {} rank{}", facts.groups, facts.ranks_per_trial,
                        facts.ranks_per_trial == 1 ? "" : "s");
  std::string text = fmt::format("forecast: {} {}, {} search", duration_text(facts.forecast_seconds), groups,
                                 search_depth_name(plan.search));
  if (facts.groups > 1) text += fmt::format(", {:.0f} % of their time idle at the end", 100 * idle_share);
  if (facts.budget_seconds) {
    text += fmt::format("; budget {}{}", duration_text(*facts.budget_seconds),
                        fits ? "" : ", for which even the smallest plan is too long");
  }
  return text;
}

std::string run_text(const RunFacts& facts) {
  std::string text = fmt::format("took {}", duration_text(facts.seconds));
  if (facts.forecast_seconds > 0) {
    text += fmt::format(" (trials forecast {}, {:+.0f} %)", duration_text(facts.forecast_seconds),
                        100 * (facts.seconds / facts.forecast_seconds - 1));
  }
  if (facts.groups > 1) text += fmt::format(", {:.0f} % of the groups' time idle", 100 * facts.idle_share);
  return text;
}

}  // namespace dtrain::study
