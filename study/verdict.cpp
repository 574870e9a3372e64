#include "study/verdict.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/log.h"

namespace dtrain::study {
namespace {

std::string points(double share) {
  const std::string text = fmt::format("{:.1f}", 100 * share);
  return text == "-0.0" ? "0.0" : text;
}

std::string listed(const std::vector<std::string>& names) {
  if (names.size() < 2) return fmt::format("{}", fmt::join(names, ""));
  return fmt::format("{} and {}", fmt::join(names.begin(), names.end() - 1, ", "), names.back());
}

std::string set_title(const std::string& set) {
  return set == "test" ? "On test" : fmt::format("Out of domain ({})", set.substr(set.find('.') + 1));
}

std::string interval_text(const Comparison& comparison) {
  const Interval interval = comparison.difference.interval(0.95);
  return fmt::format("{} to {}", points(interval.low), points(interval.high));
}

// The methods that have a result at a sample count, the best mean accuracy first.
std::vector<const Cell*> ranked(const Findings& findings, const std::string& set, std::int64_t samples) {
  std::vector<const Cell*> cells;
  for (const Cell& cell : findings.cells) {
    if (cell.samples == samples && cell.metrics.count(set) > 0) cells.push_back(&cell);
  }
  const auto mean = [&](const Cell* cell) { return cell->metrics.at(set).at("accuracy").mean; };
  std::stable_sort(cells.begin(), cells.end(),
                   [&](const Cell* left, const Cell* right) { return mean(left) > mean(right); });
  return cells;
}

// What an interval that is no proof of a difference still says.
std::string indistinct(const Comparison& comparison) {
  const double bound = comparison.difference.equivalence_bound();
  const std::string measured = fmt::format("{} ({:+.1f} points, {})", comparison.second,
                                           100 * comparison.difference.mean, interval_text(comparison));
  return bound < 0.01 ? fmt::format("{}: they are equal within {} points", measured, points(bound))
                      : fmt::format("{}: no difference larger than {} points", measured, points(bound));
}

// Where the classes are mixed otherwise than in training, accuracy favours whoever leans to those that are frequent.
std::string balanced_leader(const std::vector<const Cell*>& cells, const std::string& set) {
  if (set == "test") return "";
  const auto mean = [&](const Cell* cell) { return cell->metrics.at(set).at("balanced_accuracy").mean; };
  const Cell* best = *std::max_element(cells.begin(), cells.end(),
                                       [&](const Cell* left, const Cell* right) { return mean(left) < mean(right); });
  if (best == cells[0]) return "";
  return fmt::format(" By balanced accuracy {} has the highest mean, {} % (of {}: {} %).", best->method,
                     points(mean(best)), cells[0]->method, points(mean(cells[0])));
}

std::string finding(const StudyPlan& plan, const Findings& findings, const EvaluationSet& set, std::int64_t samples) {
  const auto cells = ranked(findings, set.name, samples);
  if (cells.empty()) return fmt::format("{}: no method has a result.", set_title(set.name));
  const Cell& top = *cells[0];
  const SeedMean& accuracy = top.metrics.at(set.name).at("accuracy");
  const std::string head = fmt::format("{} ({} examples, {} seed{})", set_title(set.name), count_text(set.examples),
                                       accuracy.seeds, accuracy.seeds == 1 ? "" : "s");
  const std::string share = accuracy.seeds > 1
                                ? fmt::format("{} ± {} %", points(accuracy.mean), points(accuracy.half_width))
                                : fmt::format("{} %", points(accuracy.mean));
  if (cells.size() == 1)
    return fmt::format("{}: {} has {} accuracy; nothing to compare it with.", head, top.method, share);
  if (plan.result_seeds.size() < 2) {
    return fmt::format(
        "{}: {} has the highest accuracy, {}. One seed only: how far seeds scatter is not known, so no "
        "method is called better (--seeds 3).",
        head, top.method, share);
  }
  std::vector<std::string> beaten;
  std::vector<std::string> indistinguishable;
  for (auto other = std::next(cells.begin()); other != cells.end(); ++other) {
    const auto comparison = findings.compare(set.name, samples, top.method, (*other)->method);
    if (!comparison || std::isnan(comparison->adjusted_p)) {
      indistinguishable.push_back(fmt::format("{}: too few seeds ended to compare", (*other)->method));
    } else if (comparison->shown()) {
      beaten.push_back(fmt::format("{} by {} points ({})", (*other)->method, points(comparison->difference.mean),
                                   interval_text(*comparison)));
    } else {
      indistinguishable.push_back(indistinct(*comparison));
    }
  }
  std::string text = fmt::format("{}: ", head);
  if (indistinguishable.empty()) {
    text += fmt::format("{} wins with {} accuracy. It beats {}.", top.method, share, listed(beaten));
    return text + balanced_leader(cells, set.name);
  }
  text += fmt::format("{} has the highest accuracy, {}.", top.method, share);
  if (!beaten.empty()) text += fmt::format(" It beats {}.", listed(beaten));
  text += fmt::format(" It is not told apart from {}.", fmt::join(indistinguishable, "; nor from "));
  return text + balanced_leader(cells, set.name);
}

std::string cost_text(const Cell& cell) {
  return fmt::format("{} trainable parameters, {} all-reduced a step, {:.0f} samples/s, peak memory {}, {} stored",
                     count_text(cell.cost.trainable_parameters),
                     bytes_text(static_cast<double>(cell.cost.allreduce_bytes_per_step)), cell.cost.samples_per_second,
                     bytes_text(static_cast<double>(cell.cost.peak_memory_bytes)),
                     bytes_text(static_cast<double>(cell.cost.stored_bytes)));
}

// Fills advice and advised.
void advise(const StudyPlan& plan, const Findings& findings, Verdict& verdict) {
  const auto beats = [&](const std::string& set, const Cell& left, const Cell& right) {
    const auto comparison = findings.compare(set, verdict.samples, left.method, right.method);
    return comparison && comparison->shown() && comparison->difference.mean > 0 ? comparison : std::nullopt;
  };
  auto cells = ranked(findings, "test", verdict.samples);
  if (cells.empty()) {
    verdict.advice = "No method has a result on test: no advice.";
    return;
  }
  if (plan.result_seeds.size() < 2 || cells.size() < 2) {
    verdict.advice = "No advice: that takes at least two methods and two seeds.";
    return;
  }
  const Cell* top = cells[0];
  std::stable_sort(cells.begin(), cells.end(), [](const Cell* left, const Cell* right) {
    return left->cost.train_seconds < right->cost.train_seconds;
  });
  const auto unbeaten = [&](const Cell* cell) {
    return std::none_of(cells.begin(), cells.end(), [&](const Cell* other) { return beats("test", *other, *cell); });
  };
  const auto found = std::find_if(cells.begin(), cells.end(), unbeaten);
  const Cell& advised = found == cells.end() ? *top : **found;
  verdict.advised = advised.method;
  const bool cheapest = &advised == cells.front();
  verdict.advice = cheapest ? fmt::format(
                                  "Take {}: it is the fastest, and no other method is shown to be better "
                                  "on test ({}).",
                                  advised.method, cost_text(advised))
                            : fmt::format("If you can afford {}, take it ({}).", advised.method, cost_text(advised));
  // The way down: each cheaper method and what it gives up.
  for (auto cell = std::make_reverse_iterator(found == cells.end() ? cells.begin() : found); cell != cells.rend();
       ++cell) {
    const auto loss = beats("test", advised, **cell);
    if (!loss) continue;
    verdict.advice += fmt::format(" Else {}, which gives up {} points ({}) and takes {} instead of {} to train ({}).",
                                  (*cell)->method, points(loss->difference.mean), interval_text(*loss),
                                  duration_text((*cell)->cost.train_seconds), duration_text(advised.cost.train_seconds),
                                  cost_text(**cell));
  }
  if (top != &advised) {
    verdict.advice +=
        fmt::format(" {} has a higher mean on test, but it is slower and not shown to be better.", top->method);
  }
  for (const EvaluationSet& set : plan.sets) {
    if (set.name == "test") continue;
    for (const Cell* other : ranked(findings, set.name, verdict.samples)) {
      const auto gain = beats(set.name, *other, advised);
      if (!gain) continue;
      const std::string where = set.name.substr(set.name.find('.') + 1);
      const std::string size = fmt::format("{} points ({})", points(gain->difference.mean), interval_text(*gain));
      const double theirs = other->metrics.at(set.name).at("balanced_accuracy").mean;
      const double ours = advised.metrics.at(set.name).at("balanced_accuracy").mean;
      if (theirs < ours) {
        // The classes are mixed otherwise there, which favours whoever leans to those that are frequent.
        verdict.advice += fmt::format(
            " Where inputs are like {} the metrics disagree: {} is {} more accurate there than {}, but its balanced "
            "accuracy is lower, {} % instead of {} %.",
            where, other->method, size, advised.method, points(theirs), points(ours));
        continue;
      }
      verdict.advice += fmt::format(" Where inputs are like {}, take {}: {} more accurate there than {}.", where,
                                    other->method, size, advised.method);
      break;
    }
  }
}

std::vector<std::string> warnings(const StudyPlan& plan, const Findings& findings, std::int64_t samples) {
  std::vector<std::string> texts;
  for (const Cell& cell : findings.cells) {
    if (cell.samples != samples) continue;
    if (!cell.learning_rate) {
      texts.push_back(fmt::format("{}: no learning rate of its grid trained; try smaller ones (--lrs).", cell.method));
    } else if (cell.at_low_edge || cell.at_high_edge) {
      texts.push_back(
          fmt::format("{}: the best learning rate, {}, is the {} of its grid; a better one may lie beyond "
                      "(--lrs).",
                      cell.method, rate_text(*cell.learning_rate), cell.at_high_edge ? "largest" : "smallest"));
    }
    const auto seeds = plan.result_seeds.size();
    if (!cell.failed.empty()) {
      texts.push_back(fmt::format("{}: {} of {} seeds failed (a loss that is not finite: {}) and are in no mean.",
                                  cell.method, cell.failed.size(), seeds, fmt::join(cell.failed, ", ")));
    }
    if (!cell.collapsed.empty()) {
      texts.push_back(
          fmt::format("{}: {} of {} seeds collapsed (seed {}): they learned no more than the class "
                      "frequencies. They are in the means.",
                      cell.method, cell.collapsed.size(), seeds, fmt::join(cell.collapsed, ", ")));
    }
  }
  return texts;
}

}  // namespace

std::string resolution_text(const EvaluationSet& set) {
  return fmt::format("{}: {} examples resolve differences of about {} points at best", set.name,
                     count_text(set.examples), points(resolution(set.examples, 0.06)));
}

std::string rate_text(double learning_rate) {
  std::string text = fmt::format("{:g}", learning_rate);
  const std::size_t zero = text.find("e-0");
  if (zero != std::string::npos) text.erase(zero + 2, 1);
  return text;
}

std::vector<Verdict> verdicts(const StudyPlan& plan, const Findings& findings) {
  std::vector<Verdict> all;
  for (const std::int64_t samples : plan.samples) {
    if (std::none_of(findings.cells.begin(), findings.cells.end(),
                     [&](const Cell& cell) { return cell.samples == samples; }))
      continue;
    Verdict verdict;
    verdict.samples = samples;
    for (const EvaluationSet& set : plan.sets) verdict.findings.push_back(finding(plan, findings, set, samples));
    advise(plan, findings, verdict);
    verdict.warnings = warnings(plan, findings, samples);
    all.push_back(std::move(verdict));
  }
  return all;
}

std::string trend(const std::vector<Verdict>& verdicts) {
  if (verdicts.empty()) return "";
  if (verdicts.size() == 1) {
    return fmt::format(
        "One sample count only ({}): this cannot show where the answer changes with the size of the data "
        "(--samples 100,1000,10000).",
        count_text(verdicts[0].samples));
  }
  std::vector<std::string> parts;
  std::string last;
  for (const Verdict& verdict : verdicts) {
    if (verdict.advised.empty()) return "The sample counts do not all lead to advice: no trend is claimed.";
    if (verdict.advised != last)
      parts.push_back(fmt::format("{} at {} samples", verdict.advised, count_text(verdict.samples)));
    last = verdict.advised;
  }
  if (parts.size() == 1) {
    return fmt::format("The advice is {} at every count from {} to {} samples.", last,
                       count_text(verdicts.front().samples), count_text(verdicts.back().samples));
  }
  return fmt::format("The advice changes with the size of the data: {}, and the same up to the next count tried.",
                     fmt::join(parts, ", then "));
}

nlohmann::json verdict_json(const std::vector<Verdict>& verdicts) {
  nlohmann::json counts = nlohmann::json::array();
  for (const Verdict& verdict : verdicts) {
    counts.push_back({{"samples", verdict.samples},
                      {"findings", verdict.findings},
                      {"advice", verdict.advice},
                      {"advised", verdict.advised},
                      {"warnings", verdict.warnings}});
  }
  return {{"counts", counts}, {"trend", trend(verdicts)}};
}

}  // namespace dtrain::study
