#include "study/diagnosis/diagnose_study.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/log.h"
#include "study/plan/search.h"

namespace dtrain::study {
namespace {

using Identity = std::map<std::string, std::string>;

// Where a study has no count that is asked for, and as many examples as a diagnosis takes by itself.
constexpr std::int64_t kDiagnosedSamples = 1000;

std::vector<std::string> differing(const Identity& there, const Identity& here, const std::vector<std::string>& names) {
  const auto value = [](const Identity& identity, const std::string& name) {
    const auto found = identity.find(name);
    return found == identity.end() ? std::string("not set") : found->second;
  };
  std::vector<std::string> texts;
  for (const std::string& name : names) {
    if (value(there, name) != value(here, name))
      texts.push_back(fmt::format("{} is {} there and {} here", name, value(there, name), value(here, name)));
  }
  return texts;
}

}  // namespace

std::vector<std::string> other_question(const StudyPlan& study, const Identity& identity) {
  return differing(study.identity, identity,
                   {"model", "pooling", "problem type", "labels", "training data", "dev data", "test data"});
}

std::int64_t diagnosed_samples(const StudyPlan& study) {
  const auto above = std::upper_bound(study.samples.begin(), study.samples.end(), kDiagnosedSamples);
  return above == study.samples.begin() ? study.samples.front() : *std::prev(above);
}

StudyRates rates_of_study(const StudyPlan& study, const FinishedTrials& finished, const Identity& identity,
                          std::int64_t samples) {
  StudyRates rates;
  if (std::find(study.samples.begin(), study.samples.end(), samples) == study.samples.end()) {
    rates.notes.push_back(fmt::format("the study has no trials with {} examples: none of its learning rates is taken",
                                      count_text(samples)));
    return rates;
  }
  const auto different =
      differing(study.identity, identity,
                {"loss", "steps", "batch size", "weight decay", "warm-up ratio", "gradient norm", "reduce precision"});
  if (!different.empty()) {
    rates.notes.push_back(fmt::format("the study trains otherwise, so that none of its learning rates is taken: {}",
                                      fmt::join(different, "; ")));
    return rates;
  }
  for (const MethodPlan& method : study.methods) {
    const Search found = search(study, method, samples, finished);
    if (found.done && found.chosen) rates.by_method[method.method.text()] = *found.chosen;
  }
  return rates;
}

}  // namespace dtrain::study
