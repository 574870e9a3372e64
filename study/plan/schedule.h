#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "study/plan/plan.h"
#include "study/plan/search.h"
#include "study/plan/trial.h"

namespace dtrain::study {

/// Seconds that a trial will take.
using SecondsOf = std::function<double(const Trial&)>;

/// The trials of a study as one queue that any number of groups of ranks are served from. What runs when decides no
/// result.
class Schedule {
 public:
  /// `plan` must outlive it.
  Schedule(const StudyPlan& plan, FinishedTrials finished);

  /// The trial to begin now: of those that wait for nothing the one with the longest way to the end of the study, its
  /// own time and that of whatever waits for it (highest level first; Hu, 1961). Of two that are equal, one of
  /// `last_method`, whose frozen features a group may still have. It counts as under way from then on. Nothing where
  /// every trial that is left waits for one that is under way, or none is left.
  std::optional<Trial> next(const SecondsOf& seconds, const std::string& last_method = {});

  void finish(const Trial& trial, TrialOutcome outcome);
  /// Trials under way that did not end run again.
  void give_up(const Trial& trial) { running_.erase(trial.key()); }

  /// The same without what no search looks at (scores, curves): a copy to simulate with.
  Schedule without_scores() const;

  /// Nothing is left, and nothing under way.
  bool is_done() const;
  const FinishedTrials& finished() const { return finished_; }
  /// How many trials ended, of those of the plan; and how many more there will be if no search widens.
  std::size_t ended() const;
  std::size_t expected() const;

  /// The trials that are neither finished nor under way, those of searches not yet decided with the plan's rates.
  std::vector<Trial> left() const;

  /// After the plan has dropped a seed or a count: what was known of its searches is found anew.
  void plan_changed() { searches_.clear(); }

 private:
  const Search& searched(const MethodPlan& method, std::int64_t samples) const;
  struct Ready {
    Trial trial;
    const MethodPlan* method;
    std::size_t count_index;
  };
  std::vector<Ready> ready() const;
  double level(const Ready& ready, const SecondsOf& seconds) const;
  bool has_begun(const Trial& trial) const;

  const StudyPlan& plan_;
  FinishedTrials finished_;
  std::set<std::string> running_;
  /// By method and count, as long as no trial of the method ends.
  mutable std::map<std::pair<const MethodPlan*, std::int64_t>, Search> searches_;
};

/// How a schedule would go: seconds to its end, and the share of the groups' time without a trial. Searches are taken
/// to find the middle of their rates best.
struct Simulation {
  double seconds = 0;
  double idle_share = 0;
};
Simulation simulate(const StudyPlan& plan, Schedule schedule, const SecondsOf& seconds, int groups);

}  // namespace dtrain::study
