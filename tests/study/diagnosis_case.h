#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "study/diagnosis/diagnosis.h"

namespace dtrain::study {

/// So many of 1,000 test examples right, the first ones.
inline SeedScores right_on(int count) {
  std::vector<double> scores(1000, 0.0);
  std::fill_n(scores.begin(), count, 1.0);
  return {scores};
}

/// A diagnosis whose answer is known: what each choice is worth stands in its rows.
inline Diagnosis known_diagnosis() {
  Diagnosis diagnosis;
  diagnosis.model = "tiny";
  diagnosis.task = "toy";
  diagnosis.samples = 100;
  diagnosis.test_examples = 1000;
  diagnosis.layers = 1;
  const auto add = [&](const std::string& kind, const std::string& method, model::Pooling pooling, int count) {
    DiagnosisRow row;
    row.kind = kind;
    row.title = kind;
    row.method = method;
    row.pooling = pooling;
    if (method != "probe") row.learning_rate = kind == "asked" ? 5e-5 : 0.03;
    row.scores = right_on(count);
    diagnosis.rows.push_back(row);
  };
  add("asked", "head", model::Pooling::pooler, 200);
  add("rate", "head", model::Pooling::pooler, 450);
  add("optimum", "probe", model::Pooling::pooler, 450);
  add("pooling", "probe", model::Pooling::mean, 600);
  add("best_probe", "probe", model::Pooling::mean, 580);
  add("full", "full", model::Pooling::mean, 700);
  add("method", "lora", model::Pooling::mean, 670);
  StageProbe probe{1, model::Pooling::mean, {}};
  probe.probe.test_scores = right_on(580)[0];
  probe.probe.test_accuracy = 0.58;
  diagnosis.probes = {probe};
  conclude(diagnosis);
  return diagnosis;
}

}  // namespace dtrain::study
