#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"
#include "study/plan/plan.h"
#include "study/plan/search.h"
#include "study/plan/trial.h"

namespace dtrain::study {

/// For simulations: uniform between 0 and 1, and standard normal.
inline double uniform(SplitMix64& random) { return static_cast<double>(random.next() >> 11) * 0x1p-53; }
inline double normal(SplitMix64& random) {
  return std::sqrt(-2 * std::log(1 - uniform(random))) * std::cos(6.283185307179586 * uniform(random));
}

/// A small plan: two or three methods on one test and one out-of-domain set.
inline StudyPlan small_plan(const std::vector<std::string>& methods, std::vector<std::int64_t> samples,
                            std::uint64_t seeds = 3) {
  StudyPlan plan;
  for (const auto& method : methods)
    plan.methods.push_back({peft::parse_method_spec(method), {0.001, 0.003, 0.01}, 0.001, 0.01});
  for (const std::int64_t count : samples) plan.steps[count] = 150;
  plan.samples = std::move(samples);
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) plan.result_seeds.push_back(seed);
  plan.model = "tiny";
  plan.task = "toy";
  plan.classes = 4;
  plan.dev_majority_share = 0.3;
  plan.sets = {{"test", 1000, 0.3, {}}, {"ood.web", 1000, 0.3, {}}};
  plan.identity = {{"model", "abc"}, {"precision", "fp32"}};
  return plan;
}

/// An outcome that was right on the first `test` of 1,000 test examples and the first `web` of the other set.
inline TrialOutcome outcome_of(int test, int web, double dev_loss = 0.5) {
  TrialOutcome outcome;
  outcome.steps = 150;
  outcome.best_step = 120;
  outcome.ranks = 2;
  outcome.metrics["dev"] = {{"accuracy", test / 1000.0}, {"log_loss", dev_loss}};
  const auto add = [&](const std::string& set, int right) {
    outcome.metrics[set] = {
        {"accuracy", right / 1000.0}, {"macro_f1", right / 1000.0}, {"balanced_accuracy", right / 1000.0}};
    std::vector<double>& scores = outcome.scores[set];
    for (int i = 0; i < 1000; ++i) scores.push_back(i < right ? 1 : 0);
  };
  add("test", test);
  add("ood.web", web);
  outcome.cost = {.train_seconds = 10,
                  .samples_per_second = 100,
                  .peak_memory_bytes = 1 << 30,
                  .peak_memory_above_base_bytes = 1 << 29,
                  .trainable_parameters = 1000,
                  .allreduce_bytes_per_step = 4000,
                  .stored_bytes = 5000};
  outcome.seconds = 12.5;
  return outcome;
}

inline void finish(FinishedTrials& finished, const Trial& trial, TrialOutcome outcome) {
  finished.insert_or_assign(trial.key(), std::make_pair(trial, std::move(outcome)));
}

/// A method's search, whose middle learning rate is best, and its results: what it has right on test and the other set,
/// the same for each seed but for the last digit.
inline void finish_method(FinishedTrials& finished, const StudyPlan& plan, std::size_t method, std::int64_t samples,
                          int test, int web, double train_seconds) {
  const MethodPlan& planned = plan.methods[method];
  for (const Trial& trial : search(plan, planned, samples, finished).ready)
    finish(finished, trial, outcome_of(test, web, trial.learning_rate == 0.003 ? 0.4 : 0.6));
  int shift = 0;
  for (const Trial& trial : result_trials(plan, planned, samples, 0.003)) {
    TrialOutcome outcome = outcome_of(test + shift, web + shift);
    outcome.cost.train_seconds = train_seconds;
    finish(finished, trial, std::move(outcome));
    ++shift;
  }
}

}  // namespace dtrain::study
