#include "study/journal/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "tests/study/study_case.h"

namespace dtrain::study {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class JournalTest : public testing::Test {
 protected:
  JournalTest() : directory_(fs::temp_directory_path() / ("dtrain-journal-" + std::to_string(getpid()))) {
    fs::remove_all(directory_);
    fs::create_directories(directory_);
    log_.warning = [this](std::string_view text) { warnings_.emplace_back(text); };
    trials_ = search(plan_, plan_.methods[0], 100, {}).ready;
  }
  ~JournalTest() override { fs::remove_all(directory_); }

  fs::path path() const { return directory_ / "journal.jsonl"; }
  // A journal with the first `count` trials.
  void write(std::size_t count) {
    Journal journal = Journal::begin(path(), plan_);
    for (std::size_t i = 0; i < count; ++i) journal.append(trials_[i], outcome_of(600, 300));
  }
  std::size_t lines() const {
    std::ifstream stream(path());
    std::size_t count = 0;
    for (std::string line; std::getline(stream, line);) ++count;
    return count;
  }
  template <typename Kind>
  std::string message_of_going_on() {
    try {
      Journal::go_on(path(), plan_, log_);
    } catch (const Kind& error) {
      return error.what();
    }
    return "accepted";
  }

  fs::path directory_;
  StudyPlan plan_ = small_plan({"full", "head"}, {100});
  std::vector<Trial> trials_;
  Log log_;
  std::vector<std::string> warnings_;
};

TEST_F(JournalTest, HasALineOfThePlanAndOneForEachTrial) {
  write(2);
  EXPECT_EQ(lines(), 3U);
  const JournalContent content = read_journal(path(), log_);
  EXPECT_EQ(plan_json(content.plan), plan_json(plan_));
  EXPECT_EQ(content.finished.size(), 2U);
  EXPECT_EQ(content.finished.at(trials_[1].key()).second.scores, outcome_of(600, 300).scores);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(JournalTest, KeepsWhatEachExampleWasTakenForAndHowSurely) {
  TrialOutcome outcome = outcome_of(600, 300);
  outcome.predicted["test"] = {0, 17, 2};
  outcome.confidences["test"] = {0.25F, 1, 1.0F / 3};
  Journal::begin(path(), plan_).append(trials_[0], outcome);
  const auto kept = [&] { return read_journal(path(), log_).finished.at(trials_[0].key()).second; };
  EXPECT_EQ(kept().predicted, outcome.predicted);
  EXPECT_EQ(kept().confidences, outcome.confidences);
  // As an earlier version wrote it.
  std::string text = read_file(path());
  const std::string confidences = R"("confidences":{"test":"3e8000003f8000003eaaaaab"},)";
  ASSERT_NE(text.find(confidences), std::string::npos) << text;
  write_file_atomically(path(), text.erase(text.find(confidences), confidences.size()));
  EXPECT_THAT(kept().confidences, IsEmpty());
  EXPECT_EQ(kept().predicted, outcome.predicted);
}

TEST_F(JournalTest, GoesOnWhereItStopped) {
  write(1);
  Journal journal = Journal::go_on(path(), plan_, log_);
  EXPECT_EQ(journal.finished().count(trials_[0].key()), 1U);
  EXPECT_EQ(journal.finished().count(trials_[1].key()), 0U);
  journal.append(trials_[1], outcome_of(610, 300));
  EXPECT_EQ(Journal::go_on(path(), plan_, log_).finished().size(), 2U);
}

TEST_F(JournalTest, DropsALastLineThatWasCutShortAndSaysSo) {
  write(2);
  const std::string whole = read_file(path());
  // At every length: as a kill between two bytes of the write may leave it.
  const std::size_t last = whole.rfind('\n', whole.size() - 2) + 1;
  for (std::size_t size = last + 1; size < whole.size(); size += 97) {
    write_file_atomically(path(), whole.substr(0, size));
    warnings_.clear();
    Journal journal = Journal::go_on(path(), plan_, log_);
    EXPECT_EQ(journal.finished().size(), 1U);
    EXPECT_THAT(warnings_, ElementsAre(AllOf(HasSubstr("journal.jsonl:3"), HasSubstr("cut short"))));
    journal.append(trials_[1], outcome_of(600, 300));
    EXPECT_EQ(read_file(path()), whole) << "the repeated trial replaces what was cut";
  }
}

TEST_F(JournalTest, RefusesAnotherStudyAndNamesWhatDiffers) {
  write(1);
  plan_.identity["precision"] = "bf16";
  plan_.identity["batch size"] = "64";
  EXPECT_THAT(message_of_going_on<UsageError>(), AllOf(HasSubstr("precision is fp32 there and bf16 here"),
                                                       HasSubstr("batch size is not set there and 64 here"),
                                                       HasSubstr("config.ini"), testing::Not(HasSubstr("model is"))));
  EXPECT_EQ(lines(), 2U) << "nothing is lost";
}

TEST_F(JournalTest, RefusesALineInTheMiddleThatIsDamaged) {
  write(2);
  std::string text = read_file(path());
  text[text.find('\n') + 1] = 'x';
  write_file_atomically(path(), text);
  EXPECT_THAT(message_of_going_on<InputError>(), HasSubstr("journal.jsonl:2: not a line of a study's journal"));
}

TEST_F(JournalTest, RefusesAFileThatIsNoJournal) {
  write_file_atomically(path(), "");
  EXPECT_THAT(message_of_going_on<InputError>(), HasSubstr("empty"));
  write_file_atomically(path(), "{\"schema\":99}\n");
  EXPECT_THAT(message_of_going_on<InputError>(), HasSubstr("expected schema 2"));
}

TEST_F(JournalTest, KeepsTheLastOfPlansCostsAndFacts) {
  write(1);
  Journal journal = Journal::go_on(path(), plan_, log_);
  StudyPlan more = small_plan({"full", "head", "lora"}, {100, 1000});
  journal.append(more);
  for (const double seconds : {1, 7}) {
    Cost cost;
    cost.train_seconds = seconds;
    journal.append(MethodCosts{{"full", {{100, cost}}}});
  }
  RunFacts facts;
  facts.groups = 4;
  facts.budget_seconds = 600;
  facts.seconds = 500;
  facts.planned_seconds = 450;
  facts.forecast_seconds = 400;
  facts.idle_share.reset();
  journal.append(facts);
  journal.append(trials_[1], outcome_of(610, 300));
  const JournalContent content = read_journal(path(), log_);
  EXPECT_EQ(plan_json(content.plan), plan_json(more));
  EXPECT_EQ(content.costs.at("full").at(100).train_seconds, 7);
  EXPECT_EQ(run_facts_json(content.run), run_facts_json(facts));
  EXPECT_EQ(content.finished.size(), 2U);
}

TEST_F(JournalTest, KeepsWhatThePlanGaveUp) {
  plan_ = small_plan({"full"}, {100, 1000});
  Journal journal = Journal::begin(path(), plan_);
  plan_.drop_seed(100, 3);
  plan_.drop_count(1000);
  plan_.changes = {"100 samples without seed 3", "no more trials of 1,000 samples"};
  journal.append(plan_);
  const StudyPlan kept = read_journal(path(), log_).plan;
  EXPECT_TRUE(kept.is_dropped(100, 3));
  EXPECT_FALSE(kept.is_dropped(100));
  EXPECT_TRUE(kept.is_dropped(1000));
  EXPECT_EQ(kept.changes, plan_.changes);
}

TEST_F(JournalTest, TakesWhatAPlanGaveUpFromTheFactsOfAnEarlierVersion) {
  write(0);
  auto run = run_facts_json({});
  run["changes"] = {"100 samples without seed 3"};
  run["forecast_seconds"] = 0;
  write_file_atomically(path(), read_file(path()) + nlohmann::json{{"run", run}}.dump() + "\n");
  const JournalContent content = read_journal(path(), log_);
  EXPECT_THAT(content.plan.changes, ElementsAre("100 samples without seed 3"));
  EXPECT_EQ(content.run.forecast_seconds, std::nullopt) << "0 was: not known";
}

TEST_F(JournalTest, IsGoneOnWithByOtherTrialsOfTheSameIdentity) {
  write(2);
  plan_ = small_plan({"lora"}, {1000}, 5);
  EXPECT_EQ(Journal::go_on(path(), plan_, log_).finished().size(), 2U);
}

TEST_F(JournalTest, SaysThatTheDiskRefuses) {
  Journal journal = Journal::begin(path(), plan_);
  fs::remove(path());
  EXPECT_THROW(journal.append(trials_[0], outcome_of(1, 1)), TrainingError);
}

}  // namespace
}  // namespace dtrain::study
