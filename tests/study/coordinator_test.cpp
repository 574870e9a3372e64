#include "study/run/coordinator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "dist/communicator.h"
#include "study/plan/budget.h"
#include "tests/study/study_case.h"
#include "tests/train/small_run.h"

namespace dtrain::study {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

// One group, which answers what the coordinator orders by made-up outcomes.
class CoordinatorTest : public testing::Test {
 protected:
  CoordinatorTest() {
    fs::create_directories(directory_);
    log_.line = [this](std::string_view text) { lines_.emplace_back(text); };
    log_.warning = [this](std::string_view text) { warnings_.emplace_back(text); };
    for (MethodPlan& method : plan_.methods) {
      method.learning_rates = {0.003};
      method.lowest = method.highest = 0.003;
      forecasts_.push_back({method.method.text(), {}, {}, 0});
      forecasts_.back().beside.step_seconds = 0.001;
    }
  }
  ~CoordinatorTest() override { fs::remove_all(directory_); }

  void begin(std::optional<double> budget, bool may_add_seeds) {
    journal_ = Journal::begin(directory_ / "journal.jsonl", plan_);
    coordinate(budget, may_add_seeds, {}, std::chrono::steady_clock::now());
  }
  // After a kill, with what the journal has; its own forecast began so long ago.
  void resume(std::optional<double> budget, std::chrono::seconds forecast) {
    plan_ = read_journal(directory_ / "journal.jsonl", log_).plan;
    journal_ = Journal::go_on(directory_ / "journal.jsonl", plan_, log_);
    coordinate(budget, false, journal_->finished(), std::chrono::steady_clock::now() - forecast);
  }
  void coordinate(std::optional<double> budget, bool may_add_seeds, const FinishedTrials& finished,
                  std::chrono::steady_clock::time_point began) {
    coordinator_ =
        std::make_unique<Coordinator>(Coordinator::Setting{plan_, groups_, *journal_, *requests_, *orders_, log_,
                                                           std::chrono::seconds(60), budget, may_add_seeds, 0, began},
                                      finished, TimeLeft(plan_, forecasts_, {20, 20, 32, 2}));
  }

  // What the group is told, once it has asked.
  Letter ask(Letter::Kind kind = Letter::Kind::ask) {
    requests_->post(0, Letter{kind, {}, {}}.text());
    coordinator_->serve();
    const auto order = orders_->take();
    if (!order) throw std::logic_error("no order");
    return Letter::of(order->text);
  }
  void answer(const Trial& trial, const TrialOutcome& outcome) {
    requests_->post(0, Letter{Letter::Kind::result, trial, outcome}.text());
  }

  std::vector<Trial> run(const std::function<TrialOutcome(const Trial&)>& outcome) {
    std::vector<Trial> ran;
    for (Letter order = ask(); order.kind == Letter::Kind::run; order = ask()) {
      ran.push_back(*order.trial);
      answer(*order.trial, outcome(*order.trial));
    }
    return ran;
  }

  fs::path directory_ = fs::path(testing::TempDir()) / ("coordinator" + std::to_string(getpid()));
  StudyPlan plan_ = small_plan({"full", "lora"}, {100, 1000}, 3);
  std::vector<MethodForecast> forecasts_;
  Log log_;
  std::vector<std::string> lines_;
  std::vector<std::string> warnings_;
  std::unique_ptr<dist::Communicator> communicator_ = dist::make_single_communicator();
  train::RunContext context_ = train::context_over(*communicator_);
  Groups groups_{context_, 1};
  std::unique_ptr<dist::Mailbox> requests_ = dist::make_single_mailbox();
  std::unique_ptr<dist::Mailbox> orders_ = dist::make_single_mailbox();
  std::optional<Journal> journal_;
  std::unique_ptr<Coordinator> coordinator_;
};

// The methods differ by what they have right of 1,000 examples; seeds scatter. lora is the cheaper one.
TrialOutcome answered(const Trial& trial, int full_ahead) {
  const int scatter = 3 * static_cast<int>(trial.seed * 7 % 5) * (trial.method == "full" ? 1 : -1);
  TrialOutcome outcome = outcome_of(700 + scatter + (trial.method == "full" ? full_ahead : 0), 300);
  outcome.cost.train_seconds = trial.method == "full" ? 10 : 1;
  return outcome;
}

TEST(Letter, ComesBackFromItsText) {
  const StudyPlan plan = small_plan({"full"}, {100});
  const Trial trial = result_trials(plan, plan.methods[0], 100, 0.1)[0];
  const Letter back = Letter::of(Letter{Letter::Kind::result, trial, outcome_of(613, 377)}.text());
  EXPECT_EQ(back.kind, Letter::Kind::result);
  EXPECT_EQ(back.trial->key(), trial.key());
  EXPECT_EQ(back.outcome->scores, outcome_of(613, 377).scores);
  EXPECT_EQ(Letter::of(Letter{Letter::Kind::stop, {}, {}}.text()).kind, Letter::Kind::stop);
  EXPECT_THROW(Letter::of("{}"), std::invalid_argument);
  EXPECT_THROW(Letter::of("{\"kind\":\"love\"}"), std::invalid_argument);
}

TEST_F(CoordinatorTest, TakesATrialThatSeveralRanksOfAGroupHaveLostOnce) {
  begin({}, true);
  const Letter order = ask();
  ASSERT_EQ(order.kind, Letter::Kind::run);
  TrialOutcome lost;
  lost.failure = "rank 1: out of memory";
  answer(*order.trial, lost);
  lost.failure = "rank 0: out of memory";
  answer(*order.trial, lost);
  EXPECT_NE(ask().trial->key(), order.trial->key());
  const auto& finished = coordinator_->schedule().finished();
  ASSERT_EQ(finished.size(), 1U);
  EXPECT_EQ(finished.begin()->second.second.failure, "rank 1: out of memory");
}

TEST_F(CoordinatorTest, HandsOutThePlanAndEnds) {
  begin({}, true);
  const auto ran = run([](const Trial& trial) { return answered(trial, 0); });
  EXPECT_THAT(ran, SizeIs(12)) << "without a budget no seed is added, whatever is undecided";
  EXPECT_TRUE(coordinator_->is_over());
  EXPECT_FALSE(coordinator_->is_stopped());
  EXPECT_EQ(read_journal(directory_ / "journal.jsonl", {}).finished.size(), 12U);
}

TEST_F(CoordinatorTest, GivesSeedsToWhatIsUndecidedWhileThereIsTime) {
  begin(1000, true);
  // At 100 samples full is far ahead; at 1,000 the methods are close.
  const auto ran = run([](const Trial& trial) { return answered(trial, trial.samples == 100 ? 200 : 6); });
  ASSERT_FALSE(coordinator_->plan().more_seeds.empty());
  EXPECT_THAT(lines_, Contains(HasSubstr("1,000 samples: the answer hangs on full and lora, which get seed 4")));
  std::set<std::string> added;
  for (const Trial& trial : ran) {
    if (trial.seed > 3) added.insert(std::to_string(trial.samples));
  }
  EXPECT_EQ(added, std::set<std::string>{"1000"}) << "what is decided needs no more";
  for (const auto& [method, seeds] : coordinator_->plan().more_seeds.at(1000))
    EXPECT_LE(seeds.size() + 3, kMostAddedSeeds);
  const auto kept = read_journal(directory_ / "journal.jsonl", {});
  EXPECT_EQ(kept.plan.more_seeds, coordinator_->plan().more_seeds);
  EXPECT_EQ(kept.finished.size(), ran.size());
}

TEST_F(CoordinatorTest, AddsNoSeedsWhereTheyWereGivenOrThereIsNoTime) {
  begin(1000, false);
  EXPECT_THAT(run([](const Trial& trial) { return answered(trial, 8); }), SizeIs(12));
  for (MethodForecast& forecast : forecasts_) forecast.beside.step_seconds = 1;
  begin(20, true);
  for (const Trial& trial : run([](const Trial& trial) { return answered(trial, 8); })) EXPECT_LE(trial.seed, 3U);
}

TEST_F(CoordinatorTest, ShortensThePlanFromItsEndWhereTrialsTakeLonger) {
  begin(2, false);
  const auto ran = run([](const Trial& trial) {
    TrialOutcome outcome = answered(trial, 0);
    outcome.seconds = 1;  // instead of .15
    return outcome;
  });
  ASSERT_FALSE(coordinator_->plan().changes.empty());
  EXPECT_THAT(coordinator_->plan().changes.front(), HasSubstr("1,000 samples without seed 3"));
  EXPECT_LT(ran.size(), 12U);
  std::set<std::uint64_t> seeds;
  for (const Trial& trial : ran) {
    if (trial.samples == 100) seeds.insert(trial.seed);
  }
  EXPECT_GE(seeds.size(), 2U) << "the first count keeps two seeds";
}

TEST_F(CoordinatorTest, GivesUpAfterAKillWhatItGaveUpBefore) {
  const auto slow = [](const Trial& trial) {
    TrialOutcome outcome = answered(trial, 0);
    outcome.seconds = 3600;
    return outcome;
  };
  begin(2, false);
  const Letter order = ask();
  ASSERT_EQ(order.trial->samples, 1000);
  answer(*order.trial, slow(*order.trial));
  coordinator_->serve();
  const StudyPlan shortened = coordinator_->plan();
  EXPECT_TRUE(shortened.is_dropped(1000));
  EXPECT_FALSE(shortened.is_dropped(100));
  EXPECT_THAT(shortened.changes, Contains(HasSubstr("no more trials of 1,000 samples")));
  const auto kept = read_journal(directory_ / "journal.jsonl", {});
  EXPECT_EQ(plan_json(kept.plan), plan_json(shortened)) << "on disk before anything builds on it";
  resume(2, std::chrono::seconds(0));
  const auto ran = run(slow);
  EXPECT_THAT(ran, SizeIs(4)) << "two seeds of both methods";
  for (const Trial& trial : ran) EXPECT_EQ(trial.samples, 100);
  EXPECT_EQ(plan_json(coordinator_->plan()), plan_json(shortened)) << "nothing is given up, or said, twice";
  resume(2, std::chrono::seconds(0));
  EXPECT_TRUE(coordinator_->schedule().is_done());
}

TEST(RunFacts, AreOfAllRunsOfAStudy) {
  StudyPlan plan = small_plan({"full", "lora"}, {100}, 3);
  FinishedTrials finished;
  EXPECT_EQ(idle_share(finished, 2), 0) << "nobody waited";
  const auto add = [&](std::size_t method, std::size_t seed, double started, double seconds, double spent) {
    TrialOutcome outcome = outcome_of(500, 500);
    outcome.ranks = 1;
    outcome.started = started;
    outcome.seconds = seconds;
    outcome.spent = spent;
    finish(finished, result_trials(plan, plan.methods[method], 100, 0.003).at(seed), outcome);
  };
  // Two ranks, after a forecast of 10 s; a kill at 45 s takes a trial of 5 s, and the forecast after it 20 s.
  add(0, 0, 10, 30, 40);
  add(1, 0, 10, 28, 38);
  EXPECT_NEAR(*idle_share(finished, 2), 1 - 58.0 / 60, 1e-12);
  add(0, 1, 60, 30, 70);
  add(1, 1, 60, 15, 55);
  EXPECT_NEAR(*idle_share(finished, 2), 1 - 103.0 / 120, 1e-12);
  EXPECT_EQ(planned_seconds(plan, finished, 90), 90);
  plan.more_seeds[100]["full"] = {4};
  add(0, 3, 91, 20, 90);
  EXPECT_EQ(planned_seconds(plan, finished, 111), 90);
  for (auto& [key, trial] : finished) trial.second.spent = 0;
  EXPECT_EQ(idle_share(finished, 2), std::nullopt) << "earlier versions did not write it down";
}

TEST_F(CoordinatorTest, LearnsNothingOfTimeFromTrialsThatFailed) {
  begin(1e6, false);
  const Letter order = ask();
  TrialOutcome lost;
  lost.failure = "the loss of step 1 is nan";
  lost.seconds = 1e6;
  answer(*order.trial, lost);
  coordinator_->serve();
  EXPECT_THAT(coordinator_->plan().changes, IsEmpty()) << "the rest still fits";
}

TEST_F(CoordinatorTest, LosesNothingOfItsPlanToAKillAndTheForecastAfterIt) {
  begin(1000, false);
  for (int i = 0; i < 3; ++i) {
    const Letter order = ask();
    answer(*order.trial, answered(*order.trial, 0));
  }
  coordinator_->serve();
  resume(1000, std::chrono::seconds(10'000));
  EXPECT_THAT(run([](const Trial& trial) { return answered(trial, 0); }), SizeIs(9));
  EXPECT_THAT(coordinator_->plan().changes, IsEmpty());
  EXPECT_GE(coordinator_->seconds(), 10'000);
  EXPECT_LT(coordinator_->spent(), 1000);
  EXPECT_GE(coordinator_->spent(), coordinator_->schedule().finished().begin()->second.second.spent);
}

// The first of two ranks, whose fellow only writes letters.
class FirstOfTwo final : public dist::Communicator {
 public:
  std::string_view name() const override { return "first of two"; }
  int rank() const override { return 0; }
  int size() const override { return 2; }
  std::chrono::milliseconds timeout() const override { return std::chrono::seconds(60); }
  void set_timeout(std::chrono::milliseconds) override {}
  std::unique_ptr<dist::Work> start_all_reduce(const at::Tensor&) override { return none(); }
  std::unique_ptr<dist::Work> start_reduce_scatter(const at::Tensor&) override { return none(); }
  std::unique_ptr<dist::Work> start_all_gather(const at::Tensor&) override { return none(); }
  void broadcast(const at::Tensor&, int) override { none(); }
  at::Tensor all_gather(const at::Tensor&) override { throw std::logic_error("no fellow"); }
  void send(const at::Tensor&, int) override { none(); }
  void receive(const at::Tensor&, int) override { none(); }
  void barrier() override { none(); }
  std::unique_ptr<dist::Communicator> split(int) override { throw std::logic_error("no fellow"); }
  dist::RankCounters& counters_beside() override { throw std::logic_error("no fellow"); }

 private:
  static std::unique_ptr<dist::Work> none() { throw std::logic_error("no fellow"); }
};

// Letters as if from any rank, and to it.
class OpenMailbox final : public dist::Mailbox {
 public:
  void post(int to, const std::string& text) override { letters.push_back({to, text}); }
  std::optional<Letter> take() override {
    if (letters.empty()) return std::nullopt;
    const Letter first = letters.front();
    letters.pop_front();
    return first;
  }
  std::deque<Letter> letters;
};

TEST(GroupsOfRanks, ReadNoEnergyBesideOthers) {
  FirstOfTwo ranks;
  train::RunContext context = train::context_over(ranks);
  context.energy_counters = "/sys/class/powercap";
  context.gpu_joules = [] { return 1; };
  const train::RunContext of_all = Groups(context, 2).context();
  EXPECT_EQ(of_all.energy_counters, context.energy_counters);
  ASSERT_TRUE(of_all.gpu_joules);
  EXPECT_EQ(of_all.gpu_joules(), 1);
  const train::RunContext of_one = Groups(context, 1).context();
  EXPECT_TRUE(of_one.energy_counters.empty());
  EXPECT_FALSE(of_one.gpu_joules);
}

TEST_F(CoordinatorTest, CountsNoTrialThatAKillWouldTakeAgainstTheBudget) {
  FirstOfTwo ranks;
  const train::RunContext context = train::context_over(ranks);
  const Groups groups(context, 1);
  OpenMailbox requests;
  OpenMailbox orders;
  journal_ = Journal::begin(directory_ / "journal.jsonl", plan_);
  Coordinator coordinator({plan_, groups, *journal_, requests, orders, log_, std::chrono::seconds(60), 1000}, {},
                          TimeLeft(plan_, forecasts_, {20, 20, 32, 2}));
  requests.post(0, Letter{Letter::Kind::ask, {}, {}}.text());
  requests.post(1, Letter{Letter::Kind::ask, {}, {}}.text());
  coordinator.serve();
  ASSERT_THAT(orders.letters, SizeIs(2));
  const Trial trial = *Letter::of(orders.letters[0].text).trial;
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  requests.post(orders.letters[0].from, Letter{Letter::Kind::result, trial, answered(trial, 0)}.text());
  coordinator.serve();
  // Half of it is what the other group has under way.
  const double spent = coordinator.schedule().finished().at(trial.key()).second.spent;
  EXPECT_GE(spent, 0.25);
  EXPECT_LT(spent, 0.75 * coordinator.spent());
}

TEST_F(CoordinatorTest, CountsWhatWaitsForATrialUnderWayAsLeft) {
  for (MethodForecast& forecast : forecasts_) forecast.beside.step_seconds = 1;
  plan_.methods[0].learning_rates = plan_.methods[1].learning_rates = {0.001, 0.003};
  std::vector<std::string> progress;
  log_.progress = [&](std::string_view text) { progress.emplace_back(text); };
  begin({}, false);
  const Letter order = ask();
  ASSERT_EQ(order.kind, Letter::Kind::run);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  coordinator_->serve();
  // 8 trials of search and 12 results of 150 steps each; at 100 samples a step has 25 examples instead of 32.
  ASSERT_FALSE(progress.empty());
  EXPECT_THAT(progress.back(), HasSubstr("0 of 20 trials, 43 min"));
}

TEST_F(CoordinatorTest, CountsASeedThatWasAddedAsLeft) {
  for (MethodForecast& forecast : forecasts_) forecast.beside.step_seconds = 1;
  std::vector<std::string> progress;
  log_.progress = [&](std::string_view text) { progress.emplace_back(text); };
  const auto look = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1100));
    coordinator_->serve();
  };
  begin(1e6, true);
  Letter order = ask();
  look();
  while (order.trial->seed < 4) {
    answer(*order.trial, answered(*order.trial, order.trial->samples == 100 ? 200 : 6));
    order = ask();
  }
  look();
  // Two of about 13 s, as the others took; the look before it was of all that was planned.
  ASSERT_FALSE(progress.empty());
  EXPECT_THAT(progress.back(), AllOf(HasSubstr("12 of 14 trials, "), HasSubstr(" s left"), Not(HasSubstr(" min "))));
}

TEST_F(CoordinatorTest, SaysOfLessThanASecondThatItIs) {
  std::vector<std::string> progress;
  log_.progress = [&](std::string_view text) { progress.emplace_back(text); };
  for (MethodForecast& forecast : forecasts_) forecast.beside.step_seconds = 1e-6;
  begin({}, false);
  ask();
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  coordinator_->serve();
  ASSERT_FALSE(progress.empty());
  EXPECT_THAT(progress.back(), HasSubstr("0 of 12 trials, under 1 s left"));
}

TEST_F(CoordinatorTest, StopsEveryGroupAndForgetsWhatWasUnderWay) {
  begin({}, true);
  const Letter order = ask();
  ASSERT_EQ(order.kind, Letter::Kind::run);
  EXPECT_EQ(ask(Letter::Kind::stopped).kind, Letter::Kind::leave);
  EXPECT_TRUE(coordinator_->is_over());
  EXPECT_TRUE(coordinator_->is_stopped());
  EXPECT_EQ(coordinator_->schedule().ended(), 0U);
  EXPECT_EQ(coordinator_->schedule().expected(), 12U);
}

TEST_F(CoordinatorTest, SaysEachWarningOnce) {
  begin({}, true);
  run([](const Trial& trial) {
    TrialOutcome outcome = answered(trial, 0);
    outcome.warnings = {"features do not fit"};
    return outcome;
  });
  EXPECT_THAT(warnings_, SizeIs(1));
  EXPECT_THAT(warnings_, Each(HasSubstr("features do not fit")));
}

}  // namespace
}  // namespace dtrain::study
