#include "study/run/coordinator.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <stdexcept>
#include <utility>

#include "base/error.h"
#include "base/json_file.h"
#include "study/findings/analysis.h"
#include "study/findings/words.h"
#include "study/plan/budget.h"
#include "study/plan/search.h"
#include "study/report/so_far.h"

namespace dtrain::study {
namespace {

using nlohmann::json;

// How often a table of what was found so far is shown, at most.
constexpr std::chrono::minutes kBetweenTables(3);
// How often the time left is forecast anew, at most.
constexpr std::chrono::seconds kBetweenLooksAhead(10);

constexpr std::array<const char*, 8> kKinds = {"ask", "result", "alive", "stopped", "run", "stop", "leave", "end"};

}  // namespace

std::optional<double> idle_share(const FinishedTrials& finished, int ranks) {
  if (finished.empty()) return 0;
  double began = finished.begin()->second.second.started;
  double spent = 0;
  double busy = 0;
  for (const auto& [key, trial] : finished) {
    const TrialOutcome& outcome = trial.second;
    began = std::min(began, outcome.started);
    spent = std::max(spent, outcome.spent);
    busy += outcome.seconds * outcome.ranks;
  }
  if (spent <= began) return std::nullopt;
  return std::max(0.0, 1 - busy / ((spent - began) * ranks));
}

double planned_seconds(const StudyPlan& plan, const FinishedTrials& finished, double seconds) {
  if (plan.more_seeds.empty()) return seconds;
  const auto is_added = [&](const Trial& trial) {
    const auto at_count = plan.more_seeds.find(trial.samples);
    if (trial.phase != Trial::Phase::result || at_count == plan.more_seeds.end()) return false;
    const auto of_method = at_count->second.find(trial.method);
    return of_method != at_count->second.end() &&
           std::find(of_method->second.begin(), of_method->second.end(), trial.seed) != of_method->second.end();
  };
  double last = 0;
  for (const auto& [key, trial] : finished) {
    if (!is_added(trial.first)) last = std::max(last, trial.second.started + trial.second.seconds);
  }
  return last;
}

std::string Letter::text() const {
  json letter = {{"kind", kKinds.at(static_cast<std::size_t>(kind))}};
  if (trial) letter["trial"] = trial_json(*trial, outcome.value_or(TrialOutcome()));
  return json_text(letter);
}

Letter Letter::of(const std::string& text) {
  try {
    const json document = json::parse(text);
    const auto name = document.at("kind").get<std::string>();
    const auto* const kind = std::find(kKinds.begin(), kKinds.end(), name);
    if (kind == kKinds.end()) throw std::invalid_argument("a letter of kind " + name);
    Letter letter;
    letter.kind = static_cast<Kind>(kind - kKinds.begin());
    if (document.contains("trial")) std::tie(letter.trial, letter.outcome) = trial_from_json(document.at("trial"));
    return letter;
  } catch (const json::exception& error) {
    throw std::invalid_argument(fmt::format("no letter: {}", error.what()));
  }
}

Coordinator::Coordinator(const Setting& setting, FinishedTrials finished, TimeLeft times)
    : setting_(setting),
      plan_(setting.plan),
      schedule_(plan_, std::move(finished)),
      times_(std::move(times)),
      groups_(static_cast<std::size_t>(setting.groups.count())) {
  if (schedule_.finished().empty()) return;
  double spent = 0;
  for (const auto& [key, trial] : schedule_.finished()) spent = std::max(spent, trial.second.spent);
  unspent_ = seconds() - spent;
}

double Coordinator::seconds() const {
  return setting_.seconds_before + std::chrono::duration<double>(Clock::now() - setting_.began).count();
}

// Seconds of the other groups' present trials, summed.
double Coordinator::under_way(int but_of) const {
  double sum = 0;
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    if (groups_[i].trial && static_cast<int>(i) != but_of) sum += seconds() - groups_[i].trial_began;
  }
  return sum;
}

void Coordinator::send(int group, const Letter& letter) {
  const std::string text = letter.text();
  const int first = setting_.groups.leader(group);
  for (int rank = first; rank < first + setting_.groups.ranks_per_trial(); ++rank) setting_.orders.post(rank, text);
}

void Coordinator::serve() {
  while (const auto letter = setting_.requests.take())
    read(letter->from / setting_.groups.ranks_per_trial(), Letter::of(letter->text));
  hand_out();
  if (Clock::now() - last_sign_ < std::chrono::seconds(1)) return;
  last_sign_ = Clock::now();
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    const Group& group = groups_[i];
    if (group.state == State::waiting) send(static_cast<int>(i), {Letter::Kind::alive, {}, {}});
    // The own group was silent as long as nobody served.
    if (i == 0 || group.state != State::working || Clock::now() - group.heard < setting_.timeout) continue;
    const int first = setting_.groups.leader(static_cast<int>(i));
    throw CommunicationError(
        fmt::format("the group of rank {} has been silent for {} with its trial ({}); end it, and go on with --resume",
                    first, duration_text(std::chrono::duration<double>(Clock::now() - group.heard).count()),
                    group.trial ? group.trial->key() : "none"));
  }
  show_progress();
}

void Coordinator::read(int index, const Letter& letter) {
  Group& group = groups_.at(static_cast<std::size_t>(index));
  group.heard = Clock::now();
  switch (letter.kind) {
    case Letter::Kind::ask:
      group.state = State::waiting;
      return;
    case Letter::Kind::result:
      // Several ranks of a group may report that they have lost it.
      if (group.trial) take_result(index, letter);
      return;
    case Letter::Kind::stopped:
      if (group.trial) schedule_.give_up(*group.trial);
      group.trial.reset();
      group.state = State::waiting;
      stopping_ = true;
      for (std::size_t i = 0; i < groups_.size(); ++i) {
        if (groups_[i].state == State::working) send(static_cast<int>(i), {Letter::Kind::stop, {}, {}});
      }
      return;
    case Letter::Kind::alive:
      return;
    default:
      throw std::invalid_argument("a letter that no group writes");
  }
}

void Coordinator::take_result(int index, const Letter& letter) {
  Group& group = groups_[static_cast<std::size_t>(index)];
  const Trial& trial = *letter.trial;
  TrialOutcome outcome = *letter.outcome;
  outcome.group = index;
  outcome.started = group.trial_began;
  outcome.spent = spent() - under_way(index) / static_cast<double>(groups_.size());
  setting_.journal.append(trial, outcome);
  // One that failed says nothing of how long those take that end.
  if (!outcome.failed()) times_.took(trial, outcome.seconds);
  group.trial.reset();
  for (const std::string& warning : outcome.warnings) {
    if (said_.insert(warning).second) setting_.log.warning(fmt::format("{}: {}", trial.method, warning));
  }
  const std::string what =
      outcome.failed() ? "failed, " + outcome.failure
      : trial.phase == Trial::Phase::search || outcome.metrics.count("test") == 0
          ? fmt::format("dev {} {:.4f}", plan_.select_metric, outcome.metric("dev", plan_.select_metric))
          : fmt::format("test {} {:.4f}", plan_.metric, outcome.metric("test", plan_.metric));
  const double took = outcome.seconds;
  const auto wanted_before = wanted_rate(trial);
  schedule_.finish(trial, std::move(outcome));
  shorten();
  setting_.log.line(fmt::format("trial {}/{}  {}, {} samples, learning rate {}, seed {}{}: {}, {}", schedule_.ended(),
                                schedule_.expected(), trial.method, count_text(trial.samples),
                                rate_text(trial.learning_rate), trial.seed,
                                trial.phase == Trial::Phase::result ? ""
                                : trial.length < 1 ? fmt::format(" (search, {:.0f} % of the steps)", 100 * trial.length)
                                                   : " (search)",
                                what, duration_text(took)));
  if (trial.phase != Trial::Phase::result) return;
  const auto wanted = wanted_rate(trial);
  if (wanted && wanted_before && *wanted != *wanted_before) say_retreat(trial, *wanted_before, *wanted);
  show_results();
}

std::optional<double> Coordinator::wanted_rate(const Trial& trial) const {
  const auto method = std::find_if(plan_.methods.begin(), plan_.methods.end(),
                                   [&](const MethodPlan& planned) { return planned.method.text() == trial.method; });
  if (method == plan_.methods.end()) return std::nullopt;
  return search(plan_, *method, trial.samples, schedule_.finished()).wanted;
}

void Coordinator::say_retreat(const Trial& trial, double before, double wanted) {
  const std::string text =
      wanted < before ? fmt::format("on dev the results at {} speak against it; the same seeds are trained at {} too",
                                    rate_text(before), rate_text(wanted))
                      : fmt::format("on dev the results at {} are no better than those at {}, which count",
                                    rate_text(before), rate_text(wanted));
  setting_.log.line(fmt::format("{}, {} samples: {}", trial.method, count_text(trial.samples), text));
}

void Coordinator::hand_out() {
  const auto seconds_of = [&](const Trial& trial) { return times_.seconds(trial); };
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    Group& group = groups_[i];
    if (group.state != State::waiting) continue;
    if (stopping_) {
      group.state = State::gone;
      send(static_cast<int>(i), {Letter::Kind::leave, {}, {}});
      continue;
    }
    auto trial = schedule_.next(seconds_of, group.last_method);
    if (!trial && schedule_.is_done() && add_seeds()) trial = schedule_.next(seconds_of, group.last_method);
    if (trial) {
      group = {State::working, trial, trial->method, seconds(), Clock::now()};
      send(static_cast<int>(i), {Letter::Kind::run, trial, TrialOutcome()});
    } else if (schedule_.is_done()) {
      group.state = State::gone;
      send(static_cast<int>(i), {Letter::Kind::end, {}, {}});
    }
  }
}

// One more seed for whoever may still be the answer, at the count where the fewest are expected to decide.
bool Coordinator::add_seeds() {
  if (!setting_.budget_seconds || !setting_.may_add_seeds) return false;
  const Findings findings = analyse(plan_, schedule_.finished());
  const CountDecision* hangs = nullptr;
  std::int64_t fewest = kMostSeedsExpected + 1;
  for (const CountDecision& count : findings.decisions) {
    if (plan_.is_dropped(count.samples) || !count.decision.best || count.decision.decided()) continue;
    const auto& best = count.candidate(*count.decision.best).method;
    if (plan_.seeds_of(count.samples, best).size() >= kMostAddedSeeds) continue;
    const auto needed = added_seeds_to_decide(count.contest, kMostSeedsExpected);
    if (!needed || *needed >= fewest) continue;
    fewest = *needed;
    hangs = &count;
  }
  if (hangs == nullptr) return false;
  std::set<std::size_t> contenders(hangs->decision.open.begin(), hangs->decision.open.end());
  for (const auto& also : {hangs->decision.best, hangs->decision.advised}) {
    if (also) contenders.insert(*also);
  }
  std::uint64_t seed = plan_.result_seeds.back();
  for (const std::size_t index : contenders) {
    for (const std::uint64_t used : plan_.seeds_of(hangs->samples, hangs->candidate(index).method))
      seed = std::max(seed, used);
  }
  ++seed;
  double longest = 0;
  double all = 0;
  std::vector<std::string> names;
  for (const std::size_t index : contenders) {
    names.push_back(hangs->candidate(index).method);
    const double one = times_.seconds({Trial::Phase::result, names.back(), hangs->samples, 0, seed});
    longest = std::max(longest, one);
    all += one;
  }
  const double needed = std::max(longest, all / static_cast<double>(groups_.size()));
  if (spent() + needed > *setting_.budget_seconds) return false;
  for (const std::string& name : names) plan_.more_seeds[hangs->samples][name].push_back(seed);
  setting_.journal.append(plan_);
  last_look_ahead_ = {};
  setting_.log.line(fmt::format("{} samples: the answer hangs on {}, which get{} seed {}", count_text(hangs->samples),
                                listed(names), names.size() == 1 ? "s" : "", seed));
  return true;
}

bool Coordinator::is_over() const {
  return std::all_of(groups_.begin(), groups_.end(), [](const Group& group) { return group.state == State::gone; });
}

double Coordinator::seconds_left() const {
  // What is under way is simulated as trials of what is left of them: others wait for their results.
  Schedule schedule = schedule_.without_scores();
  std::map<std::string, double> under_way;
  for (const Group& group : groups_) {
    if (!group.trial) continue;
    // What takes longer than was forecast is taken to be nearly done.
    const double so_far = seconds() - group.trial_began;
    under_way[group.trial->key()] = std::max(times_.seconds(*group.trial) - so_far, 0.05 * so_far);
    schedule.give_up(*group.trial);
  }
  const auto seconds_of = [&](const Trial& trial) {
    const auto found = under_way.find(trial.key());
    return found == under_way.end() ? times_.seconds(trial) : found->second;
  };
  return simulate(plan_, std::move(schedule), seconds_of, static_cast<int>(groups_.size())).seconds;
}

// Takes from the plan what no longer fits its time: seeds first, then counts.
void Coordinator::shorten() {
  if (!setting_.budget_seconds) return;
  while (spent() + seconds_left() > *setting_.budget_seconds * 1.02) {
    if (!drop_least()) return;
  }
}

bool Coordinator::drop_least() {
  const auto& all = plan_.samples;
  for (std::size_t seed = plan_.result_seeds.size(); seed > 2; --seed) {
    const std::uint64_t last = plan_.result_seeds[seed - 1];
    for (auto samples = all.rbegin(); samples != all.rend(); ++samples) {
      if (plan_.is_dropped(*samples, last)) continue;
      if (drops([&] { plan_.drop_seed(*samples, last); },
                fmt::format("{} samples without seed {}", count_text(*samples), last)))
        return true;
    }
  }
  for (auto samples = all.rbegin(); samples != std::prev(all.rend()); ++samples) {
    if (plan_.is_dropped(*samples)) continue;
    if (drops([&] { plan_.drop_count(*samples); }, fmt::format("no more trials of {} samples", count_text(*samples))))
      return true;
  }
  return false;
}

// Where all of it has begun, nothing is taken out.
bool Coordinator::drops(const std::function<void()>& drop, const std::string& what) {
  const auto dropped_before = plan_.dropped_seeds;
  const std::size_t left_before = schedule_.left().size();
  drop();
  schedule_.plan_changed();
  if (schedule_.left().size() == left_before) {
    plan_.dropped_seeds = dropped_before;
    schedule_.plan_changed();
    return false;
  }
  plan_.changes.push_back(fmt::format("{}: the trials take longer than was forecast, and the budget is {}", what,
                                      duration_text(*setting_.budget_seconds)));
  setting_.journal.append(plan_);
  setting_.log.line("plan shortened: " + plan_.changes.back());
  return true;
}

void Coordinator::show_results() {
  const Findings findings = analyse(plan_, schedule_.finished());
  best_so_far_ = best_so_far(plan_, findings);
  if (Clock::now() - last_table_ < kBetweenTables) return;
  last_table_ = Clock::now();
  setting_.log.line("\n" + table_so_far(plan_, findings));
}

void Coordinator::show_progress() {
  std::vector<std::string> running;
  for (const Group& group : groups_) {
    if (!group.trial) continue;
    const double share = (seconds() - group.trial_began) / std::max(1e-9, times_.seconds(*group.trial));
    running.push_back(fmt::format("{} {} at {:.0f} %", group.trial->method, count_text(group.trial->samples),
                                  100 * std::min(share, 0.99)));
  }
  // It takes a part of a second where hundreds of trials are left.
  if (Clock::now() - last_look_ahead_ > kBetweenLooksAhead) {
    last_look_ahead_ = Clock::now();
    expected_end_ = seconds() + seconds_left();
  }
  setting_.log.progress(fmt::format("{} of {} trials, {} left{}{}; {}", schedule_.ended(), schedule_.expected(),
                                    time_left(), best_so_far_.empty() ? "" : ", ", best_so_far_,
                                    fmt::join(running, ", ")));
}

std::string Coordinator::time_left() const {
  const double left = expected_end_ - seconds();
  return left < 1 ? "under 1 s" : duration_text(left);
}

RunFacts Coordinator::facts() const {
  RunFacts facts;
  facts.ended = is_over() && !stopping_;
  facts.groups = static_cast<int>(groups_.size());
  facts.ranks_per_trial = setting_.groups.ranks_per_trial();
  facts.budget_seconds = setting_.budget_seconds;
  facts.seconds = seconds();
  facts.planned_seconds = planned_seconds(plan_, schedule_.finished(), facts.seconds);
  facts.idle_share = idle_share(schedule_.finished(), facts.groups * facts.ranks_per_trial);
  return facts;
}

}  // namespace dtrain::study
