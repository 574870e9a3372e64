#include "study/plan/schedule.h"

#include <algorithm>
#include <cmath>
#include <queue>
#include <utility>

#include "train/objective.h"

namespace dtrain::study {
namespace {

// As if dev liked the middle of a method's rates best, and results more than that.
TrialOutcome middle_is_best(const StudyPlan& plan, const Trial& trial) {
  const auto method = std::find_if(plan.methods.begin(), plan.methods.end(), [&](const MethodPlan& candidate) {
    return candidate.method.text() == trial.method;
  });
  const double middle = method->learning_rates[method->learning_rates.size() / 2];
  const double distance = trial.phase == Trial::Phase::result ? -1 : std::abs(std::log(trial.learning_rate / middle));
  TrialOutcome outcome;
  outcome.metrics["dev"][plan.select_metric] = train::merit(plan.select_metric, -distance);
  return outcome;
}

}  // namespace

Schedule::Schedule(const StudyPlan& plan, FinishedTrials finished) : plan_(plan), finished_(std::move(finished)) {}

bool Schedule::has_begun(const Trial& trial) const {
  const std::string key = trial.key();
  return finished_.count(key) > 0 || running_.count(key) > 0;
}

const Search& Schedule::searched(const MethodPlan& method, std::int64_t samples) const {
  const auto [place, is_new] = searches_.try_emplace({&method, samples});
  if (is_new) place->second = search(plan_, method, samples, finished_);
  return place->second;
}

// Of results that are alike but for their seeds the first.
std::vector<Schedule::Ready> Schedule::ready() const {
  std::vector<Ready> trials;
  for (std::size_t i = 0; i < plan_.samples.size(); ++i) {
    const std::int64_t samples = plan_.samples[i];
    if (plan_.is_dropped(samples)) continue;
    for (const MethodPlan& method : plan_.methods) {
      const Search& found = searched(method, samples);
      for (const Trial& trial : found.ready) {
        if (!has_begun(trial)) trials.push_back({trial, &method, i});
      }
      if (!found.done || !found.wanted) continue;
      const auto results = result_trials(plan_, method, samples, *found.wanted);
      const auto first = std::find_if(results.begin(), results.end(), [&](const Trial& trial) {
        return !has_begun(trial) && !plan_.is_dropped(samples, trial.seed);
      });
      if (first != results.end()) trials.push_back({*first, &method, i});
    }
  }
  return trials;
}

// A search is waited for by the result at its count and by the searches of the counts after it.
double Schedule::level(const Ready& ready, const SecondsOf& seconds) const {
  const Trial& trial = ready.trial;
  double level = seconds(trial);
  if (trial.phase == Trial::Phase::result) return level;
  Trial whole = trial;
  whole.length = 1;
  if (trial.length < 1 && rungs_of(plan_, *ready.method, trial.samples).then_whole) level += seconds(whole);
  std::int64_t last = trial.samples;
  for (std::size_t i = ready.count_index + 1; i < plan_.samples.size(); ++i) {
    if (plan_.is_dropped(plan_.samples[i])) continue;
    last = plan_.samples[i];
    const Rungs rungs = rungs_of(plan_, *ready.method, last);
    Trial later = whole;
    later.samples = last;
    if (rungs.then_whole) level += seconds(later);
    later.length = rungs.first;
    level += seconds(later);
  }
  Trial result = whole;
  result.samples = last;
  if (plan_.search == SearchDepth::fine) level += seconds(result);  // between the rates
  result.phase = Trial::Phase::result;
  return level + seconds(result);
}

std::optional<Trial> Schedule::next(const SecondsOf& seconds, const std::string& last_method) {
  const Ready* best = nullptr;
  double best_level = 0;
  const auto trials = ready();
  for (const Ready& candidate : trials) {
    const double own = level(candidate, seconds);
    const bool equal = best != nullptr && std::abs(own - best_level) < 1e-9 * best_level;
    const bool better =
        best == nullptr ||
        (equal ? candidate.trial.method == last_method && best->trial.method != last_method : own > best_level);
    if (!better) continue;
    best = &candidate;
    best_level = own;
  }
  if (best == nullptr) return std::nullopt;
  running_.insert(best->trial.key());
  return best->trial;
}

void Schedule::finish(const Trial& trial, TrialOutcome outcome) {
  running_.erase(trial.key());
  finished_.insert_or_assign(trial.key(), std::make_pair(trial, std::move(outcome)));
  for (const MethodPlan& method : plan_.methods) {
    if (method.method.text() != trial.method) continue;
    for (const std::int64_t samples : plan_.samples) searches_.erase({&method, samples});
  }
}

Schedule Schedule::without_scores() const {
  FinishedTrials finished;
  for (const auto& [key, ended] : finished_) {
    TrialOutcome outcome;
    outcome.failure = ended.second.failure;
    outcome.metrics = ended.second.metrics;
    finished.emplace(key, std::make_pair(ended.first, std::move(outcome)));
  }
  Schedule copy(plan_, std::move(finished));
  copy.running_ = running_;
  copy.searches_ = searches_;
  return copy;
}

bool Schedule::is_done() const { return running_.empty() && ready().empty(); }

std::vector<Trial> Schedule::left() const {
  std::vector<Trial> trials;
  for (const std::int64_t samples : plan_.samples) {
    if (plan_.is_dropped(samples)) continue;
    for (const MethodPlan& method : plan_.methods) {
      const Search& found = searched(method, samples);
      double rate = found.wanted.value_or(method.learning_rates[method.learning_rates.size() / 2]);
      if (found.done && !found.wanted) continue;
      for (const Trial& trial : found.ready) {
        if (!has_begun(trial)) trials.push_back(trial);
      }
      if (!found.done) {
        const Rungs rungs = rungs_of(plan_, method, samples);
        const bool promoted = std::any_of(found.asked.begin(), found.asked.end(),
                                          [&](const Trial& trial) { return trial.length > rungs.first; });
        Trial search_trial{Trial::Phase::search, method.method.text(), samples, rate, plan_.search_seed};
        if (rungs.then_whole && !promoted) trials.insert(trials.end(), 2, search_trial);
        search_trial.length = rungs.first;
        if (found.asked.empty()) trials.insert(trials.end(), 3, search_trial);
      }
      for (const Trial& trial : result_trials(plan_, method, samples, rate)) {
        if (!has_begun(trial) && !plan_.is_dropped(samples, trial.seed)) trials.push_back(trial);
      }
    }
  }
  return trials;
}

std::size_t Schedule::ended() const {
  std::size_t count = 0;
  for (const std::int64_t samples : plan_.samples) {
    for (const MethodPlan& method : plan_.methods) {
      for (const Trial& trial : trials_asked(plan_, method, samples, searched(method, samples)))
        count += finished_.count(trial.key());
    }
  }
  return count;
}

std::size_t Schedule::expected() const { return ended() + running_.size() + left().size(); }

Simulation simulate(const StudyPlan& plan, Schedule schedule, const SecondsOf& seconds, int groups) {
  struct Ending {
    double at;
    int group;
    Trial trial;
  };
  const auto later = [](const Ending& a, const Ending& b) { return std::tie(a.at, a.group) > std::tie(b.at, b.group); };
  std::priority_queue<Ending, std::vector<Ending>, decltype(later)> running(later);
  std::set<int> idle;
  for (int group = 0; group < groups; ++group) idle.insert(group);
  double now = 0;
  double busy = 0;
  for (;;) {
    while (!idle.empty()) {
      const auto trial = schedule.next(seconds);
      if (!trial) break;
      const double own = seconds(*trial);
      busy += own;
      running.push({now + own, *idle.begin(), *trial});
      idle.erase(idle.begin());
    }
    if (running.empty()) break;
    const Ending ending = running.top();
    running.pop();
    now = ending.at;
    idle.insert(ending.group);
    schedule.finish(ending.trial, middle_is_best(plan, ending.trial));
  }
  return {now, now > 0 ? 1 - busy / (now * groups) : 0};
}

}  // namespace dtrain::study
