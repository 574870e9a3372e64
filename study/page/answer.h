#pragma once

#include <cstdint>
#include <string>

#include "base/table.h"
#include "study/report/report.h"

/// What somebody who knows nothing of dtrain reads first: what to do, how sure that is, what something else would cost.
namespace dtrain::study::page {

/// The answer at one sample count, as plain text.
struct Answer {
  /// "lora"; empty where there is nothing to say yet.
  std::string take;
  /// It is shown, not guessed. Something cheaper may still be undecided.
  bool shown = false;
  /// "Take lora to fine-tune MiniLM on wordnet with 300 labelled examples: ..."
  std::string sentence;
  /// "How sure: ..."
  std::string certainty;
  /// What the method is, and what its search leaves open.
  std::string meaning;
  /// What to type to train with it.
  std::string command;
  /// In a table: "shown", "best guess, 63 %".
  std::string certainty_in_short;
};

Answer answer_at(const Report& report, std::int64_t samples);

/// What each other method would lose and cost at that count; without rows where there is no decision.
Table alternatives(const Report& report, std::int64_t samples);

/// What to take at each sample count that has a result.
Table answers_by_count(const Report& report);

/// Where inputs unlike the training data ask for another method; empty for nowhere.
std::string elsewhere(const Report& report, std::int64_t samples);

/// How much of the study there is: "12 of 24 trials finished"; empty for a whole study.
std::string unfinished(const Report& report);

}  // namespace dtrain::study::page
