#include "study/findings/class_scores.h"

#include <map>
#include <set>

#include "train/metrics.h"

namespace dtrain::study {
namespace {

// How often a class is right, predicted and true.
struct Counts {
  double hits = 0;
  double predicted = 0;
  double truth = 0;
};

using CountsByClass = std::map<std::int32_t, Counts>;

CountsByClass counts_of(const std::vector<std::int32_t>& truth, const std::vector<std::int32_t>& predicted) {
  CountsByClass counts;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    ++counts[truth[i]].truth;
    ++counts[predicted[i]].predicted;
    if (truth[i] == predicted[i]) ++counts[truth[i]].hits;
  }
  return counts;
}

// Of the seeds that ended and kept what they answered.
std::vector<CountsByClass> counts_of_seeds(const StudyPlan& plan, const FinishedTrials& finished, const Cell& cell,
                                           const EvaluationSet& set) {
  std::vector<CountsByClass> all;
  for (const std::uint64_t seed : plan.seeds_of(cell.samples, cell.method)) {
    const TrialOutcome* outcome = result_of(finished, cell, seed);
    if (outcome == nullptr) continue;
    const auto predicted = outcome->predicted.find(set.name);
    if (predicted != outcome->predicted.end() && predicted->second.size() == set.labels.size())
      all.push_back(counts_of(set.labels, predicted->second));
  }
  return all;
}

}  // namespace

std::vector<ClassScore> class_scores(const StudyPlan& plan, const FinishedTrials& finished, const Cell& cell,
                                     const EvaluationSet& set) {
  std::vector<ClassScore> scores;
  if (std::set<std::int32_t>(set.labels.begin(), set.labels.end()).size() > kMostClassesOfScores) return scores;
  const auto seeds = counts_of_seeds(plan, finished, cell, set);
  if (seeds.empty()) return scores;
  for (const auto& [label, of_first] : seeds[0]) {
    if (of_first.truth == 0) continue;
    std::vector<double> precision;
    std::vector<double> recall;
    std::vector<double> f1;
    for (const CountsByClass& counts : seeds) {
      const Counts& found = counts.at(label);
      const train::LabelMetrics metrics = train::label_metrics(found.hits, found.predicted, found.truth);
      precision.push_back(metrics.precision);
      recall.push_back(metrics.recall);
      f1.push_back(metrics.f1);
    }
    scores.push_back({label, static_cast<std::int64_t>(of_first.truth), mean_over_seeds(precision),
                      mean_over_seeds(recall), mean_over_seeds(f1)});
  }
  return scores;
}

}  // namespace dtrain::study
