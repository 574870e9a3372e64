#include "study/findings/words.h"

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

std::string interval_points(const PairedDifference& difference, const std::string& metric) {
  const Interval interval = difference.interval(0.95);
  if (!train::metric_kind(metric).is_share || std::abs(difference.mean) > 1)
    return fmt::format("{} to {}", points(interval.low), points(interval.high));
  return fmt::format("{} to {}", points(std::max(-1.0, interval.low)), points(std::min(1.0, interval.high)));
}

std::string value_text(const std::string& metric, double value) {
  return train::metric_kind(metric).is_share ? points(value) : fmt::format("{:.3f}", value);
}

std::string mean_text(const std::string& metric, const SeedMean& mean) {
  return fmt::format("{}{}{}", value_text(metric, mean.mean),
                     std::isnan(mean.half_width) ? "" : " ± " + value_text(metric, mean.half_width),
                     train::metric_kind(metric).is_share ? " %" : "");
}

std::string best_word(const std::string& metric) { return train::larger_is_better(metric) ? "highest" : "lowest"; }

std::string shown_text(double p, bool shown) {
  if (std::isnan(p)) return "-";
  return shown ? "over all pairs" : p < 0.05 ? "this pair alone" : "no";
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

std::string forgetting_meaning(const std::string& measure) {
  static const std::map<std::string, std::string> kMeanings = {
      {"mrr",
       "Retrieval: how well the model still finds the usage example of a word's meaning among up to 1,000, without its "
       "classifier; the mean of 1 / the place of the right one (1: always first; 0.1: about tenth)."},
      {"mlm_loss",
       "How well the body, under its pretrained head, still guesses words that are masked: their mean cross-entropy; "
       "lower is better, and what is higher than before training was forgotten."},
      {"cka",
       "Linear CKA says how alike what the model makes of the same texts is before and after training, as the mean "
       "over its layers. 1: the same but for a rotation and a scale; 0: nothing in common."},
      {"cka_last",
       "Linear CKA of the last layer alone: how alike its states of the same texts are before and after training. 1: "
       "the same but for a rotation and a scale; 0: nothing in common."},
      {"similarity_agreement",
       "Whether the model still finds the same texts similar: the rank correlation (Spearman) of the cosines of all "
       "pairs of texts before and after training. 1: the same order; 0: no relation."},
      {"first_task", "The score on the study's task after training went on with the next one."},
      {"backward_transfer",
       "What the score on the study's task gained when training went on with the next one: below zero where that made "
       "the model forget."},
      {"next_task", "The score on the next task, which training went on with."}};
  const auto known = kMeanings.find(measure);
  return known == kMeanings.end() ? "" : known->second;
}

std::string metric_meaning(const std::string& metric) {
  static const std::map<std::string, std::string> kMeanings = {
      {"log_loss",
       "Log-loss is the mean of minus the logarithm of the probability that the model gives to the right answer: it "
       "counts how sure the model is, too."},
      {"mae", "The mean absolute error is how far the answers are off, as the mean over the examples."},
      {"mse", "The mean squared error counts the square of how far each answer is off: few large errors weigh most."},
      {"balanced_accuracy",
       "Balanced accuracy is the share of right answers in each class, as the mean over the classes: each counts the "
       "same, however rare."},
      {"macro_f1",
       "Macro-F1 is F1 (the harmonic mean of precision and recall) of each class, as the mean over the classes: each "
       "counts the same, however rare."},
      {"matthews", "Matthews' coefficient is the correlation of answers and labels: 0 for answers that say nothing."}};
  const auto known = kMeanings.find(metric);
  return known == kMeanings.end() ? "" : known->second;
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

std::string seed_numbers_text(const std::set<std::size_t>& numbers) {
  if (numbers.empty()) return "0 seeds";
  return numbers.size() == 1 ? fmt::format("{} seed{}", *numbers.begin(), *numbers.begin() == 1 ? "" : "s")
                             : fmt::format("{} to {} seeds", *numbers.begin(), *numbers.rbegin());
}

std::string resolution_text(const StudyPlan& plan, const EvaluationSet& set) {
  std::string text = fmt::format("{}: {} examples resolve differences of about {} points at best", set.name,
                                 count_text(set.examples), points(resolution(set.examples, 0.06)));
  std::map<std::size_t, std::vector<std::string>> counts;
  for (const std::int64_t samples : plan.samples) {
    if (plan.is_dropped(samples)) continue;
    for (const std::size_t seeds : plan.seed_numbers(samples)) counts[seeds].push_back(count_text(samples));
  }
  for (const auto& [seeds, at] : counts) {
    const std::string where = plan.samples.size() == 1 ? "" : fmt::format(" at {} samples", listed(at));
    if (seeds < 2) {
      text += fmt::format("; one seed{} says nothing of other seeds", where);
      continue;
    }
    PairedDifference difference;
    difference.seeds = static_cast<std::int64_t>(seeds);
    difference.examples = set.examples;
    difference.example_variance = 0.06 / static_cast<double>(set.examples);
    difference.rest_variance = 0.0;
    difference.seed_variance = 0.01 * 0.01 / static_cast<double>(seeds);
    text += fmt::format(", of {} with {} seeds that scatter by a point{}", points(difference.half_width(0.95)), seeds,
                        where);
  }
  return text;
}

std::string forecast_text(const StudyPlan& plan, const RunFacts& facts, double idle_share, bool fits) {
  const std::string groups =
      facts.groups == 1
          ? fmt::format("on {} rank{} at once", facts.ranks_per_trial, facts.ranks_per_trial == 1 ? "" : "s")
          : fmt::format("by {} groups of {} rank{}", facts.groups, facts.ranks_per_trial,
                        facts.ranks_per_trial == 1 ? "" : "s");
  std::string text = fmt::format("forecast: {} {}, {} search", duration_text(facts.forecast_seconds.value_or(0)),
                                 groups, search_depth_name(plan.search));
  if (facts.groups > 1) text += fmt::format(", {:.0f} % of their time idle at the end", 100 * idle_share);
  if (facts.budget_seconds) {
    text += fmt::format("; budget {}{}", duration_text(*facts.budget_seconds),
                        fits ? "" : ", for which even the smallest plan is too long");
  }
  return text;
}

std::string forecast_error_text(const RunFacts& facts) {
  const double forecast = facts.forecast_seconds.value_or(0);
  if (forecast <= 0 || facts.planned_seconds <= 0) return "";
  const bool added = facts.planned_seconds < facts.seconds;
  return fmt::format("{}forecast {}, {:+.0f} %{}",
                     added ? fmt::format("of which the plan {}; ", duration_text(facts.planned_seconds)) : "",
                     duration_text(forecast), std::round(100 * (facts.planned_seconds / forecast - 1)) + 0.0,
                     added ? "; then added seeds" : "");
}

std::string run_text(const RunFacts& facts) {
  std::string text = fmt::format("took {}", duration_text(facts.seconds));
  if (const std::string error = forecast_error_text(facts); !error.empty()) text += fmt::format(" ({})", error);
  if (facts.groups > 1 && facts.idle_share)
    text += fmt::format(", {:.0f} % of the groups' time idle", 100 * *facts.idle_share);
  return text;
}

}  // namespace dtrain::study
