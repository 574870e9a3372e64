#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "study/plan/plan.h"
#include "study/plan/trial.h"

namespace dtrain::study {

/// What a study tells a diagnosis of the same model and task.
struct StudyRates {
  /// The learning rates that it chose, by method.
  std::map<std::string, double> by_method;
  /// Why there are none.
  std::vector<std::string> notes;
};

/// What in a study's identity (study/journal/identity.h) says that it is of another model or other data than
/// `identity`, in words: "model is 01 there and 02 here". Empty: it is of the same.
std::vector<std::string> other_question(const StudyPlan& study, const std::map<std::string, std::string>& identity);

/// The sample count of a study that is diagnosed where none is asked for: its largest up to 1,000, else its smallest.
std::int64_t diagnosed_samples(const StudyPlan& study);

/// The rates that the study chose at that count, of the methods whose search is done. None, with a note, where it has
/// no such count, or where its trainings differ from those of `identity`.
StudyRates rates_of_study(const StudyPlan& study, const FinishedTrials& finished,
                          const std::map<std::string, std::string>& identity, std::int64_t samples);

}  // namespace dtrain::study
