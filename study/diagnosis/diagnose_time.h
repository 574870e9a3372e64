#pragma once

#include <set>
#include <string>
#include <vector>

#include "study/diagnosis/diagnose.h"

namespace dtrain::study {

/// What the trainings of a diagnosis take, in seconds, from a few real steps of full fine-tuning.
struct DiagnosisTimes {
  /// Of the model.
  int layers = 0;
  /// A whole training with its evaluations on dev, and scoring the test set.
  double training = 0;
  double scoring = 0;
  /// A forward pass over train, dev and test, which what trains upper layers alone takes once.
  double frozen_pass = 0;
  /// The share of a whole training that those of a search take.
  double search_share = 1;
  /// What the diagnosis has taken so far.
  double spent = 0;
};

/// What is tried, as far as there is time.
struct DiagnosisChoice {
  /// Besides the head and full fine-tuning, in the order of the plan.
  std::vector<peft::MethodSpec> methods;
  std::vector<std::string> left_out;
  /// Methods, full among them, whose learning rate is searched.
  std::set<std::string> searched;
  /// What is still to come, about, and rather less: what trains a part of the weights counts as all of them, but for
  /// `layers`.
  double seconds = 0;
};

/// Methods that are tried in any case; then the searches for their learning rates, as far as these are not known, the
/// shortest first, each that fits into the plan's time; then methods `if_time`, the last first, each that fits with its
/// search.
DiagnosisChoice choose_within(const DiagnosisPlan& plan, const DiagnosisTimes& times);

}  // namespace dtrain::study
