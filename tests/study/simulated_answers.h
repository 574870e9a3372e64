#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "study/plan/example_values.h"
#include "study/statistics/statistics.h"
#include "tests/study/study_case.h"

namespace dtrain::study {

/// Two methods on a test set of uneven classes.
struct SimulatedTask {
  std::int64_t examples = 500;
  /// How frequent each class is, and how often the methods are right on it.
  std::vector<double> shares = {0.5, 0.2, 0.12, 0.09, 0.06, 0.03};
  std::vector<double> first = {0.9, 0.8, 0.75, 0.7, 0.6, 0.5};
  std::vector<double> second = {0.9, 0.8, 0.75, 0.7, 0.6, 0.5};
  /// How far seeds scatter what a method has right of a class.
  double seed_deviation = 0.05;
  /// How far an example is easier for one method than for the other, with every seed.
  double tendency = 0.25;
  /// The share of the examples that the second method's answers are its own on; on the others they are the first's.
  double own = 1;
};

/// The answers of a draw of examples and seeds.
struct SimulatedAnswers {
  EvaluationSet set;
  /// By seed.
  std::vector<TrialOutcome> first;
  std::vector<TrialOutcome> second;
};

inline std::int32_t drawn_class(const std::vector<double>& shares, SplitMix64& random, std::int32_t not_this = -1) {
  while (true) {
    double left = uniform(random);
    for (std::size_t c = 0; c < shares.size(); ++c) {
      left -= shares[c];
      if ((left < 0 || c + 1 == shares.size()) && static_cast<std::int32_t>(c) != not_this)
        return static_cast<std::int32_t>(c);
      if (left < 0) break;
    }
  }
}

inline SimulatedAnswers simulated_answers(const SimulatedTask& task, int seeds, SplitMix64& random) {
  const auto n = static_cast<std::size_t>(task.examples);
  const auto place = [](std::int32_t label) { return static_cast<std::size_t>(label); };
  SimulatedAnswers drawn{{"test", task.examples, 0, {}}, {}, {}};
  // How easy an example is for both methods, and for each.
  std::vector<double> ease[2];
  std::vector<bool> own;
  for (std::size_t i = 0; i < n; ++i) {
    drawn.set.labels.push_back(drawn_class(task.shares, random));
    const double shared = 0.6 * (uniform(random) - 0.5);
    for (auto& of_method : ease) of_method.push_back(shared + task.tendency * (2 * uniform(random) - 1));
    own.push_back(task.own == 1 || uniform(random) < task.own);
  }
  const auto answers = [&](const std::vector<double>& rights, const std::vector<double>& eases) {
    std::vector<double> shifted = rights;
    for (double& right : shifted) right += task.seed_deviation * normal(random);
    std::vector<std::int32_t> predicted(n);
    for (std::size_t i = 0; i < n; ++i) {
      const std::int32_t truth = drawn.set.labels[i];
      const bool right = uniform(random) < shifted[place(truth)] + eases[i];
      // Frequent classes attract what is wrong.
      predicted[i] = right ? truth : drawn_class(task.shares, random, truth);
    }
    return predicted;
  };
  for (int seed = 0; seed < seeds; ++seed) {
    drawn.first.emplace_back().predicted["test"] = answers(task.first, ease[0]);
    auto of_second = answers(task.second, ease[1]);
    for (std::size_t i = 0; i < n; ++i) {
      if (!own[i]) of_second[i] = drawn.first.back().predicted.at("test")[i];
    }
    drawn.second.emplace_back().predicted["test"] = std::move(of_second);
  }
  return drawn;
}

/// The metric's difference, first minus second, as a study finds it.
inline PairedDifference simulated_difference(const std::string& metric, const SimulatedAnswers& drawn) {
  std::vector<ExampleValues> values;
  for (std::size_t seed = 0; seed < drawn.first.size(); ++seed) {
    values.push_back(*example_values(metric, drawn.set, drawn.first[seed]));
    values.push_back(*example_values(metric, drawn.set, drawn.second[seed]));
  }
  std::vector<std::pair<const ExampleValues*, const ExampleValues*>> pairs;
  for (std::size_t i = 0; i < values.size(); i += 2) pairs.emplace_back(&values[i], &values[i + 1]);
  return *difference_in_values(pairs);
}

}  // namespace dtrain::study
