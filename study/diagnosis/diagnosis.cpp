#include "study/diagnosis/diagnosis.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <stdexcept>

#include "base/log.h"
#include "study/findings/words.h"

namespace dtrain::study {
namespace {

std::string interval_percent(const ShareEstimate& estimate) {
  return fmt::format("{} ({} to {})", points(estimate.value), points(estimate.interval.low),
                     points(estimate.interval.high));
}

std::string signed_percent(const ShareEstimate& estimate) {
  return fmt::format("{} ({} to {})", signed_points(estimate.value), signed_points(estimate.interval.low),
                     signed_points(estimate.interval.high));
}

// "12.3 points (10.1 to 14.5)".
std::string in_points(const ShareEstimate& estimate) {
  return fmt::format("{} points ({} to {})", points(estimate.value), points(estimate.interval.low),
                     points(estimate.interval.high));
}

std::string choice_words(const Diagnosis& diagnosis, const DiagnosisStep& step) {
  const auto& best = diagnosis.best_probe();
  if (step.choice == "learning_rate") {
    return fmt::format("the learning rate of the head ({} instead of {})",
                       rate_text(*diagnosis.row("rate").learning_rate),
                       rate_text(*diagnosis.row("asked").learning_rate));
  }
  if (step.choice == "training") return "a head that its training leaves short of its optimum";
  if (step.choice == "pooling") {
    return fmt::format("the pooling ({} instead of {})", pooling_name(diagnosis.row("pooling").pooling),
                       pooling_name(diagnosis.row("asked").pooling));
  }
  if (step.choice == "layer")
    return fmt::format("the layer (the best probe, chosen on dev: {} of layer {})", pooling_name(best.pooling),
                       best.stage);
  return "what no linear head on these features reaches";
}

// The costs that are shown, largest first, and those that are not.
std::string step_sentence(const Diagnosis& diagnosis) {
  std::vector<const DiagnosisStep*> shown;
  std::vector<std::string> hidden;
  std::vector<std::string> gained;
  for (const DiagnosisStep& step : diagnosis.steps) {
    const std::string words = choice_words(diagnosis, step);
    if (step.gain.interval.low > 0) {
      shown.push_back(&step);
    } else if (step.gain.excludes_zero()) {
      gained.push_back(fmt::format("{} ({} points)", words, points(step.gain.value)));
    } else {
      hidden.push_back(words);
    }
  }
  std::stable_sort(shown.begin(), shown.end(),
                   [](const auto* a, const auto* b) { return a->gain.value > b->gain.value; });
  std::vector<std::string> parts;
  for (const auto* step : shown)
    parts.push_back(fmt::format("{} {}", in_points(step->gain), choice_words(diagnosis, *step)));
  if (!parts.empty()) parts[0].insert(parts[0].find(')') + 1, " are");
  // Choices may be shown to cost something where their sum, with gains among them, is not.
  const std::string whole = diagnosis.gap.interval.low > 0 ? "Of the gap, " : "Of this, ";
  std::string text = parts.empty() ? "No single choice is shown to cost anything" : whole + listed(parts);
  if (!hidden.empty()) text += fmt::format("; not told apart from nothing: {}", listed(hidden));
  if (!gained.empty()) text += fmt::format("; better as it was: {}", listed(gained));
  return text + ".";
}

// What of the points between the best linear head and full fine-tuning each method has back.
std::string method_sentence(const Diagnosis& diagnosis) {
  const double best = diagnosis.row("best_probe").accuracy.value;
  const double full = diagnosis.row("full").accuracy.value;
  const bool shown = diagnosis.steps.back().gain.interval.low > 0;
  std::vector<std::string> parts;
  std::vector<std::string> below;
  for (const DiagnosisRow& row : diagnosis.rows) {
    if (row.kind != "method") continue;
    if (!row.failure.empty()) {
      parts.push_back(fmt::format("{} failed", row.method));
    } else if (shown && row.accuracy.value < best) {
      below.push_back(fmt::format("{} (by {} points)", row.method, points(best - row.accuracy.value)));
    } else if (shown) {
      parts.push_back(fmt::format("{} {:.0f} %", row.method, 100 * (row.accuracy.value - best) / (full - best)));
    } else {
      parts.push_back(fmt::format("{} {} points", row.method, signed_points(row.to_full.value)));
    }
  }
  std::string text;
  if (!parts.empty())
    text = fmt::format(
        "{}: {}.",
        shown ? "Of the points that no linear head reaches, training more has back" : "Against full fine-tuning",
        listed(parts));
  if (!below.empty())
    text += fmt::format("{}Below the best linear head of all {} {}.", text.empty() ? "" : " ",
                        below.size() == 1 ? "is" : "are", listed(below));
  return text;
}

// How a learning rate was come by, behind it.
std::string rate_source(const std::string& from) {
  static const std::map<std::string, std::string> kWords = {{"asked", " (as asked)"},
                                                            {"search", " (searched)"},
                                                            {"study", " (the study's)"},
                                                            {"given", " (--lrs)"},
                                                            {"default", " (not searched)"}};
  const auto found = kWords.find(from);
  return found == kWords.end() ? "" : found->second;
}

// What was not done for want of time, or of a study.
std::string shortcut_sentence(const Diagnosis& diagnosis) {
  std::vector<std::string> unsearched;
  for (const DiagnosisRow& row : diagnosis.rows) {
    if (row.rate_from == "default") unsearched.push_back(row.method);
  }
  std::vector<std::string> parts;
  if (!unsearched.empty()) {
    parts.push_back(fmt::format("The learning rate{} of {} {} not searched, and a better one may lie beside (--lrs)",
                                unsearched.size() == 1 ? "" : "s", listed(unsearched),
                                unsearched.size() == 1 ? "was" : "were"));
  }
  if (!diagnosis.left_out.empty())
    parts.push_back(fmt::format("Not tried for want of time: {} (--methods)", listed(diagnosis.left_out)));
  return parts.empty() ? "" : fmt::format("{}. With a larger --budget there is time.", fmt::join(parts, ". "));
}

}  // namespace

const DiagnosisRow& Diagnosis::row(const std::string& kind) const {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const DiagnosisRow& r) { return r.kind == kind; });
  if (found == rows.end()) throw std::out_of_range("Diagnosis: no row " + kind);
  return *found;
}

const StageProbe& Diagnosis::best_probe() const {
  return *std::min_element(probes.begin(), probes.end(), [](const StageProbe& a, const StageProbe& b) {
    return a.probe.dev_log_loss < b.probe.dev_log_loss;
  });
}

std::vector<std::pair<std::string, std::string>> diagnosis_choices(const Diagnosis& diagnosis) {
  const bool has_pooling =
      std::any_of(diagnosis.rows.begin(), diagnosis.rows.end(), [](const auto& row) { return row.kind == "pooling"; });
  std::vector<std::pair<std::string, std::string>> choices = {{"learning_rate", "rate"}, {"training", "optimum"}};
  if (has_pooling) choices.emplace_back("pooling", "pooling");
  choices.emplace_back("layer", "best_probe");
  choices.emplace_back("linear_head", "full");
  return choices;
}

void conclude(Diagnosis& diagnosis) {
  const SeedScores& full = diagnosis.row("full").scores;
  for (DiagnosisRow& row : diagnosis.rows) {
    if (!row.failure.empty()) continue;
    row.accuracy = share_estimate(row.scores);
    row.to_full = difference_estimate(full, row.scores);
  }
  for (StageProbe& probe : diagnosis.probes) probe.accuracy = share_estimate({probe.probe.test_scores});
  diagnosis.steps.clear();
  std::string before = "asked";
  for (const auto& [choice, kind] : diagnosis_choices(diagnosis)) {
    diagnosis.steps.push_back({choice, difference_estimate(diagnosis.row(before).scores, diagnosis.row(kind).scores)});
    before = kind;
  }
  diagnosis.gap = difference_estimate(diagnosis.row("asked").scores, full);
}

Table diagnosis_table(const Diagnosis& diagnosis) {
  Table table{{"setting", "test accuracy %", "to full, points", "learning rate", "trainable", "time"}, {}};
  for (const DiagnosisRow& row : diagnosis.rows) {
    const bool failed = !row.failure.empty();
    table.rows.push_back({row.title, failed ? "failed" : interval_percent(row.accuracy),
                          failed || row.kind == "full" ? "" : signed_percent(row.to_full),
                          row.learning_rate ? rate_text(*row.learning_rate) + rate_source(row.rate_from) : "",
                          count_text(row.trainable_parameters), duration_text(row.seconds)});
  }
  return table;
}

Table probe_table(const Diagnosis& diagnosis) {
  std::vector<model::Pooling> poolings;
  for (const StageProbe& probe : diagnosis.probes) {
    if (std::find(poolings.begin(), poolings.end(), probe.pooling) == poolings.end()) poolings.push_back(probe.pooling);
  }
  Table table{{"layer"}, {}};
  for (const model::Pooling pooling : poolings) table.header.push_back(pooling_name(pooling));
  for (int stage = 0; stage <= diagnosis.layers; ++stage) {
    std::vector<std::string> cells = {stage == 0 ? "0 (embeddings)" : std::to_string(stage)};
    for (const model::Pooling pooling : poolings) {
      for (const StageProbe& probe : diagnosis.probes) {
        if (probe.stage != stage || probe.pooling != pooling) continue;
        const bool best = &probe == &diagnosis.best_probe();
        cells.push_back(points(probe.probe.test_accuracy) + (best ? " *" : ""));
      }
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

std::vector<std::string> diagnosis_words(const Diagnosis& diagnosis) {
  const DiagnosisRow& asked = diagnosis.row("asked");
  const DiagnosisRow& full = diagnosis.row("full");
  std::vector<std::string> words;
  words.push_back(fmt::format("As asked ({}) {} % of the test examples are right, fully fine-tuned ({}) {} %: {}.",
                              asked.title, points(asked.accuracy.value), full.title, points(full.accuracy.value),
                              diagnosis.gap.interval.low > 0 ? "a gap of " + in_points(diagnosis.gap)
                                                             : "no gap is shown (" + in_points(diagnosis.gap) + ")"));
  words.push_back(step_sentence(diagnosis));
  const auto methods = method_sentence(diagnosis);
  if (!methods.empty()) words.push_back(methods);
  const auto shortcuts = shortcut_sentence(diagnosis);
  if (!shortcuts.empty()) words.push_back(shortcuts);
  if (diagnosis.seeds == 1) {
    words.emplace_back(
        "One seed: the intervals hold the draw of the test examples, and neither that of the seed (--seeds) nor that "
        "of the training examples.");
  } else {
    words.push_back(
        fmt::format("{} seeds: the intervals hold the seed and the draw of the test examples, and not that "
                    "of the training examples.",
                    diagnosis.seeds));
  }
  return words;
}

}  // namespace dtrain::study
