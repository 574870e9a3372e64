#include "study/findings/advice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "study/findings/words.h"
#include "train/objective.h"

namespace dtrain::study {
namespace {

std::string cost_text(const Cost& cost) {
  return fmt::format("{} trainable parameters, {} all-reduced a step, {:.0f} samples/s, peak memory {}, {} stored",
                     count_text(cost.trainable_parameters),
                     bytes_text(static_cast<double>(cost.allreduce_bytes_per_step)), cost.samples_per_second,
                     bytes_text(static_cast<double>(cost.peak_memory_bytes)),
                     bytes_text(static_cast<double>(cost.stored_bytes)));
}

std::vector<std::string> names_of(const CountDecision& count, const std::vector<std::size_t>& indices) {
  std::vector<std::string> names;
  for (const std::size_t index : indices) names.push_back(count.candidate(index).method);
  return names;
}

// Seeds that a study is asked for are the first ones, and so hold those that were added.
std::int64_t most_seeds(const StudyPlan& plan, const CountDecision& count) {
  auto most = static_cast<std::int64_t>(*plan.seed_numbers(count.samples).rbegin());
  for (std::size_t i = 0; i < count.contest.candidates().size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (const auto& difference = count.contest.difference(i, j)) most = std::max(most, difference->seeds);
    }
  }
  return most;
}

// Contenders without a difference: "full and lora", pair by pair.
std::vector<std::string> unknown_pairs(const CountDecision& count) {
  std::vector<std::string> pairs;
  const std::size_t methods = count.contest.candidates().size();
  for (std::size_t i = 0; i < methods; ++i) {
    for (std::size_t j = i + 1; j < methods; ++j) {
      if (count.candidate(i).collapsed || count.candidate(j).collapsed || count.contest.difference(i, j)) continue;
      pairs.push_back(listed({count.candidate(i).method, count.candidate(j).method}));
    }
  }
  return pairs;
}

std::string remedy_text(const StudyPlan& plan, const CountDecision& count) {
  const Remedy& remedy = *count.remedy;
  if (const auto pairs = unknown_pairs(count); !pairs.empty()) {
    if (plan.sets.at(0).examples < 2) return "One test example tells no methods apart.";
    return fmt::format("Fewer than two seeds ended of both {}: no difference of them is known (--seeds).",
                       fmt::join(pairs, ", nor of both "));
  }
  const auto seeds = [&] {
    return fmt::format("{} more seed{} (--seeds {})", *remedy.more_seeds, *remedy.more_seeds == 1 ? "" : "s",
                       *remedy.more_seeds + most_seeds(plan, count));
  };
  std::string needed;
  if (remedy.more_seeds && remedy.examples) {
    needed = fmt::format("{} and {} test examples in all", seeds(), count_text(*remedy.examples));
  } else if (remedy.more_seeds) {
    needed = seeds();
  } else if (remedy.examples) {
    needed = fmt::format("{} test examples in all (now {})", count_text(*remedy.examples),
                         count_text(plan.sets.at(0).examples));
  } else {
    return "Not even 50 more seeds on a hundred times as many test examples would be likely to tell: the difference is "
           "about the margin.";
  }
  return fmt::format("About {} would decide it, if the means stay as they are.", needed);
}

std::string taken_text(const StudyPlan& plan, const Findings& findings, const CountDecision& count) {
  const Decision& decision = count.decision;
  const std::size_t taken = *decision.taken();
  const Candidate& method = count.candidate(taken);
  const std::string cost = cost_text(findings.cell(method.method, count.samples)->cost);
  const std::string margin = points(plan.margin);
  const auto rivals = count.leaders_beside(taken);
  const std::string best_mean = best_word(plan.metric) + " mean";
  const std::string leads = rivals.empty()
                                ? fmt::format("it has the {}, and", best_mean)
                                : fmt::format("it has the {}, the same as {}, and", best_mean, listed(rivals));
  if (!decision.advised) {
    const double probability = decision.methods[taken].within_margin;
    if (std::isnan(probability))
      return fmt::format("Until then {} is a guess by its mean alone ({}).", method.method, cost);
    return fmt::format(
        "Until then {} is the best guess: {} loses no more than {} points to the strongest rival with probability {} "
        "({}).",
        method.method, leads, margin, probability_text(probability), cost);
  }
  if (count.is_alone(taken))
    return fmt::format("Take {}: {}, so that it is compared with none ({}).", method.method, no_rival_text(plan, count),
                       cost);
  const Candidate& best = count.candidate(*decision.best);
  if (is_tie(method.mean, best.mean)) {
    return fmt::format("Take {}: {} is shown to lose no more than {} points to any other ({}).", method.method, leads,
                       margin, cost);
  }
  return fmt::format(
      "Take {}: it is the cheapest of those shown to be as good as the best within {} points, and {} points {} {}, "
      "which ha{} the {} ({}).",
      method.method, margin, points(best.mean - method.mean), train::larger_is_better(plan.metric) ? "below" : "above",
      listed(rivals), rivals.size() == 1 ? "s" : "ve", best_mean, cost);
}

// The way down: each cheaper method and what it gives up, the least first.
std::string cheaper_text(const StudyPlan& plan, const Findings& findings, const CountDecision& count) {
  const std::size_t taken = *count.decision.taken();
  const double seconds = count.candidate(taken).train_seconds;
  std::vector<std::size_t> cheaper;
  for (std::size_t i = 0; i < count.contest.candidates().size(); ++i) {
    if (i != taken && !count.candidate(i).collapsed && count.candidate(i).train_seconds < seconds) cheaper.push_back(i);
  }
  std::sort(cheaper.begin(), cheaper.end(), [&](std::size_t left, std::size_t right) {
    return count.candidate(left).mean > count.candidate(right).mean;
  });
  std::string text;
  for (const std::size_t other : cheaper) {
    const auto& loss = count.contest.difference(taken, other);
    if (!loss) continue;
    const Candidate& method = count.candidate(other);
    text += fmt::format(
        " Else {}, which gives up {} points ({}; no more than {} with probability {}) and takes {} "
        "instead of {} to train ({}).",
        method.method, points(loss->mean), interval_points(*loss, plan.metric), points(count.contest.margin()),
        probability_text(loss->probability_below(count.contest.margin())), duration_text(method.train_seconds),
        duration_text(seconds), cost_text(findings.cell(method.method, count.samples)->cost));
  }
  return text;
}

// The mean of a metric that a cell may lack.
double mean_or_nan(const Cell& cell, const std::string& set, const std::string& metric) {
  const auto metrics = cell.metrics.find(set);
  if (metrics == cell.metrics.end() || metrics->second.count(metric) == 0) return std::nan("");
  return metrics->second.at(metric).mean;
}

std::string change_text(const StudyPlan& plan, const AdviceChange& change, std::size_t counts) {
  const std::string between = fmt::format("from {} to {} between {} and {} samples", change.before, change.after,
                                          count_text(change.samples_before), count_text(change.samples_after));
  if (counts < 3) return fmt::format("{}; where exactly takes at least three counts to say", between);
  if (!change.crossover || !change.crossover->interval) {
    return fmt::format("{}; a line through their difference over log N does not show where", between);
  }
  const auto count = [](double samples) {
    // Two digits say what there is to say.
    const double unit = std::pow(10, std::max(0.0, std::floor(std::log10(samples)) - 1));
    return samples >= 1e12 ? std::string("more than a million million")
                           : count_text(static_cast<long long>(std::round(samples / unit) * unit));
  };
  return fmt::format(
      "{}: by a line through their difference over log N, {} points are reached at about {} samples (95 % "
      "interval {} to {})",
      between, points(plan.margin), count(change.crossover->samples),
      count(std::max(1.0, change.crossover->interval->low)), count(change.crossover->interval->high));
}

}  // namespace

std::string undecided_text(const StudyPlan& plan, const CountDecision& count) {
  const Decision& decision = count.decision;
  if (decision.decided()) return "";
  const auto open = names_of(count, decision.open);
  const std::string margin = points(plan.margin);
  // Too far behind the best by the interval of that pair alone, which many pairs at once make too weak a sign.
  std::vector<std::string> far;
  for (const std::size_t other : decision.open) {
    const auto& loss = count.contest.difference(*decision.best, other);
    if (other != *decision.best && loss && loss->interval(0.95).low > plan.margin)
      far.push_back(count.candidate(other).method);
  }
  const char* const why =
      count.contest.level() < kLevel ? "each added seed is one more look" : "many pairs are compared at once";
  const std::string unlikely = far.empty() ? "" : fmt::format(" ({} only because {})", listed(far), why);
  const std::string what =
      decision.advised ? fmt::format("whether {}, cheaper than {}, lose{} less than {} points", listed(open),
                                     count.candidate(*decision.advised).method, open.size() == 1 ? "s" : "", margin)
                       : fmt::format("which method is best within {} points: {} {} still possible", margin,
                                     listed(open), open.size() == 1 ? "is" : "are");
  return fmt::format("Undecided: {}{}. {} ", what, unlikely, count.remedy ? remedy_text(plan, count) : "");
}

std::string no_rival_text(const StudyPlan& plan, const CountDecision& count) {
  return count.contest.candidates().size() < plan.methods.size() ? "every other method collapsed or has too few results"
                                                                 : "every other method collapsed";
}

std::string out_of_domain_text(const StudyPlan& plan, const Findings& findings, const CountDecision& count) {
  const std::string& taken = count.candidate(*count.decision.taken()).method;
  std::string text;
  for (const EvaluationSet& set : plan.sets) {
    if (set.name == "test") continue;
    const std::string where = set.name.substr(set.name.find('.') + 1);
    std::vector<const Cell*> better;
    for (const Cell& cell : findings.cells) {
      if (cell.samples != count.samples || cell.all_collapsed()) continue;
      const auto gain = findings.compare(set.name, count.samples, cell.method, taken);
      // The better of two that a constant answer beats is no advice.
      if (knows_nothing(plan, set, mean_or_nan(cell, set.name, plan.metric))) continue;
      if (gain && gain->shown() && gain->difference.mean > 0) better.push_back(&cell);
    }
    std::stable_sort(better.begin(), better.end(), [&](const Cell* left, const Cell* right) {
      return train::merit(plan.metric, mean_or_nan(*left, set.name, plan.metric)) >
             train::merit(plan.metric, mean_or_nan(*right, set.name, plan.metric));
    });
    const double ours = mean_or_nan(*findings.cell(taken, count.samples), set.name, "balanced_accuracy");
    for (const Cell* other : better) {
      const PairedDifference gain = findings.compare(set.name, count.samples, other->method, taken)->difference;
      const std::string size = fmt::format("{} points ({})", points(gain.mean), interval_points(gain, plan.metric));
      const double theirs = mean_or_nan(*other, set.name, "balanced_accuracy");
      if (theirs < ours) {
        // The classes are mixed otherwise there, which favours whoever leans to those that are frequent.
        text += fmt::format(
            " Where inputs are like {} the metrics disagree: {} is {} better there than {}, but its "
            "balanced accuracy is lower, {} % instead of {} %.",
            where, other->method, size, taken, points(theirs), points(ours));
        continue;
      }
      text += fmt::format(" Where inputs are like {}, take {}: {} better there than {}.", where, other->method, size,
                          taken);
      break;
    }
  }
  return text;
}

std::string advice_text(const StudyPlan& plan, const Findings& findings, const CountDecision& count) {
  if (!count.decision.best) {
    return "No advice: every seed of every method collapsed; none did better than always giving one answer.";
  }
  return undecided_text(plan, count) + taken_text(plan, findings, count) + cheaper_text(plan, findings, count) +
         out_of_domain_text(plan, findings, count);
}

bool knows_nothing(const StudyPlan& plan, const EvaluationSet& set, double mean) {
  return plan.metric == train::objective_of(plan.problem_type).score_metric() && set.majority_share > 0 &&
         (mean <= set.majority_share || is_tie(mean, set.majority_share));
}

std::string constant_answers_text(const StudyPlan& plan, const Findings& findings, std::int64_t samples) {
  std::vector<std::string> sets;
  for (const EvaluationSet& set : plan.sets) {
    std::vector<double> means;
    for (const Cell& cell : findings.cells) {
      const double mean = mean_or_nan(cell, set.name, plan.metric);
      if (cell.samples == samples && std::isfinite(mean)) means.push_back(mean);
    }
    const bool nothing =
        std::all_of(means.begin(), means.end(), [&](double mean) { return knows_nothing(plan, set, mean); });
    if (means.empty() || !nothing) continue;
    sets.push_back(set.name == "test" ? set.name
                                      : fmt::format("{} (out of domain)", set.name.substr(set.name.find('.') + 1)));
  }
  return sets.empty()
             ? ""
             : fmt::format(" Beware: on {} no method does better than always giving the same answer.", listed(sets));
}

std::string edge_text(const Cell& cell) {
  const auto [low, high] =
      std::minmax_element(cell.search.begin(), cell.search.end(),
                          [](const auto& a, const auto& b) { return a.learning_rate < b.learning_rate; });
  const double tried = (cell.at_high_edge ? high : low)->learning_rate;
  const std::string what = cell.at_high_edge ? "the largest that was tried" : "the smallest that was tried";
  const std::string rate = rate_text(*cell.learning_rate);
  return tried == *cell.learning_rate ? fmt::format("{}, is {}", rate, what)
                                      : fmt::format("{}, is inferred from {}, {}", rate, what, rate_text(tried));
}

std::string no_advice_text(const StudyPlan& plan, const Findings& findings, std::int64_t samples) {
  const bool has_result = std::any_of(findings.cells.begin(), findings.cells.end(), [&](const Cell& cell) {
    return cell.samples == samples && !std::isnan(mean_or_nan(cell, "test", plan.metric));
  });
  return has_result ? "No advice: that takes at least two methods with two seeds each."
                    : "No method has a result on test: no advice.";
}

std::string trend_text(const StudyPlan& plan, const Findings& findings) {
  if (findings.cells.empty()) return "There is no result yet: what has ended are searches for learning rates.";
  // A count that was given up, but for what had begun, is missed by nobody.
  std::vector<const CountDecision*> taken;
  bool all_lead_to_advice = true;
  for (const std::int64_t samples : plan.samples) {
    const CountDecision* count = findings.decision(samples);
    if (count != nullptr && count->decision.taken()) {
      taken.push_back(count);
    } else {
      all_lead_to_advice = all_lead_to_advice && plan.is_dropped(samples);
    }
  }
  if (!all_lead_to_advice && plan.samples.size() > 1)
    return "The sample counts do not all lead to advice: no trend is claimed.";
  if (taken.size() < 2) {
    return fmt::format(
        "One sample count only ({}{}): this cannot show where the answer changes with the size of the data "
        "(--samples 100,1000,10000).",
        count_text(plan.samples[0]), plan.samples.size() > 1 ? "; larger ones were given up" : "");
  }
  const bool all_advised = std::all_of(taken.begin(), taken.end(),
                                       [](const CountDecision* count) { return count->decision.advised.has_value(); });
  const std::string what = all_advised ? "The advice" : "The advice, or the best guess where it is undecided,";
  if (findings.changes.empty()) {
    return fmt::format("{} is {} at every count from {} to {} samples.", what,
                       taken[0]->candidate(*taken[0]->decision.taken()).method, count_text(taken.front()->samples),
                       count_text(taken.back()->samples));
  }
  std::vector<std::string> changes;
  for (const AdviceChange& change : findings.changes)
    changes.push_back(change_text(plan, change, findings.decisions.size()));
  return fmt::format("{} changes with the size of the data: {}.", what, fmt::join(changes, "; "));
}

}  // namespace dtrain::study
