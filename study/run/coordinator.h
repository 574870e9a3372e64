#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "dist/mailbox.h"
#include "study/journal/journal.h"
#include "study/journal/run_facts.h"
#include "study/plan/forecast.h"
#include "study/plan/plan.h"
#include "study/plan/schedule.h"
#include "study/run/groups.h"

namespace dtrain::study {

/// What a group's leader writes to the coordinator, and the coordinator to the ranks of a group.
struct Letter {
  enum class Kind {
    ask,      ///< a group wants a trial
    result,   ///< the trial that a group was given, and its outcome
    alive,    ///< a group, or the coordinator, is still there
    stopped,  ///< a group was asked to stop by a signal, and has nothing under way
    run,      ///< begin this trial
    stop,     ///< end at the next step, and say so: the study stops
    leave,    ///< the last that a group is told of a study that stops, also where a trial was on its way to it
    end       ///< nothing is left
  };
  Kind kind = Kind::alive;
  std::optional<Trial> trial;
  std::optional<TrialOutcome> outcome;

  std::string text() const;
  /// Throws std::invalid_argument for what is no letter.
  static Letter of(const std::string& text);
};

/// The share of the time of `ranks` ranks in which they had no trial, from the first trial's beginning to the last
/// one's end, whatever number of times the study was gone on with: what a kill took, and the forecast after it, is not
/// counted (TrialOutcome::spent). Nothing where that is not known, as of a journal of an earlier version.
std::optional<double> idle_share(const FinishedTrials& finished, int ranks);

/// Seconds until what the study was planned to be was done: the end of the last trial whose seed was not added to it;
/// all of its `seconds` where none was.
double planned_seconds(const StudyPlan& plan, const FinishedTrials& finished, double seconds);

/// Hands the trials of a study to the groups and takes their outcomes, on the first rank, beside the trials that this
/// rank trains itself: it works only while `serve` is called, at each step and between batches.
class Coordinator {
 public:
  struct Setting {
    const StudyPlan& plan;
    const Groups& groups;
    Journal& journal;
    /// Where groups write to, and where from the ranks are written to.
    dist::Mailbox& requests;
    dist::Mailbox& orders;
    Log log;
    /// How long a group at work may be silent.
    std::chrono::milliseconds timeout;
    /// The end of the budget, in seconds since the study began; nothing: none.
    std::optional<double> budget_seconds;
    /// Whether seeds may be added where decisions hang on them, as long as there is time.
    bool may_add_seeds = false;
    /// Seconds of the study before a resume.
    double seconds_before = 0;
    /// When this process began with it.
    std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
  };
  Coordinator(const Setting& setting, FinishedTrials finished, TimeLeft times);

  /// Reads what has come and answers it. Throws CommunicationError for a group at work that has been silent for longer
  /// than the timeout, TrainingError where the journal cannot be written.
  void serve();
  /// No group will ask again.
  bool is_over() const;
  bool is_stopped() const { return stopping_; }

  /// Seconds since the study began.
  double seconds() const;
  /// What of them counts against the budget: the study's own work, so that a kill costs it no seed and no count. After
  /// a resume it goes on with what it was when the last trial ended (TrialOutcome::spent).
  double spent() const { return seconds() - unspent_; }
  const Schedule& schedule() const { return schedule_; }
  /// With the seeds that were added, and without those that were given up.
  const StudyPlan& plan() const { return plan_; }
  RunFacts facts() const;

 private:
  using Clock = std::chrono::steady_clock;
  enum class State { working, waiting, gone };
  struct Group {
    State state = State::working;
    std::optional<Trial> trial;
    std::string last_method;
    double trial_began = 0;
    Clock::time_point heard = Clock::now();
  };

  void read(int group, const Letter& letter);
  void take_result(int group, const Letter& letter);
  /// The rate at which the results of a trial's method and count are wanted; nothing while it is searched.
  std::optional<double> wanted_rate(const Trial& trial) const;
  void say_retreat(const Trial& trial, double before, double wanted);
  void hand_out();
  void send(int group, const Letter& letter);
  void shorten();
  bool drop_least();
  bool drops(const std::function<void()>& drop, const std::string& what);
  double under_way(int but_of) const;
  bool add_seeds();
  double seconds_left() const;
  void show_results();
  void show_progress();
  std::string time_left() const;

  Setting setting_;
  StudyPlan plan_;
  Schedule schedule_;
  TimeLeft times_;
  std::vector<Group> groups_;
  bool stopping_ = false;
  double unspent_ = 0;  // seconds that a kill and the forecasts after it took
  Clock::time_point last_sign_ = Clock::now();
  Clock::time_point last_table_ = Clock::now();
  Clock::time_point last_look_ahead_;
  double expected_end_ = 0;  // seconds since the study began
  std::string best_so_far_;
  std::set<std::string> said_;
};

}  // namespace dtrain::study
