#include "study/words.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

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
  return metric == "balanced_accuracy" ? "balanced accuracy" : train::metric_kind(metric).title;
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

std::string resolution_text(const EvaluationSet& set) {
  return fmt::format("{}: {} examples resolve differences of about {} points at best", set.name,
                     count_text(set.examples), points(resolution(set.examples, 0.06)));
}

}  // namespace dtrain::study
