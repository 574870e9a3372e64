#include "study/journal/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/digest.h"
#include "base/error.h"
#include "tests/study/study_case.h"

namespace dtrain::study {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// All that a journal says.
std::string text_of(const JournalContent& content) {
  nlohmann::json text = {plan_json(content.plan), run_facts_json(content.run)};
  for (const auto& [key, trial] : content.finished) text.push_back(trial_json(trial.first, trial.second));
  for (const auto& [method, costs] : content.costs) {
    for (const auto& [samples, cost] : costs) text.push_back({method, samples, train::cost_json(cost)});
  }
  return text.dump();
}

// As earlier versions wrote it.
std::string without_digests(const std::string& journal) {
  return std::regex_replace(journal, std::regex(R"(,"digest":"[0-9a-f]{32}"\}\n)"), "}\n");
}

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
  // One with a line of each kind.
  void write_every_kind() {
    write(1);
    Journal journal = Journal::go_on(path(), plan_, log_);
    Cost cost;
    cost.train_seconds = 3;
    journal.append(MethodCosts{{"full", {{100, cost}}}});
    journal.append(plan_);
    RunFacts facts;
    facts.seconds = 7;
    journal.append(facts);
    journal.append(trials_[1], outcome_of(610, 300));
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
  write_file_atomically(path(), without_digests(text.erase(text.find(confidences), confidences.size())));
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

TEST_F(JournalTest, EndsEachLineInTheDigestOfWhatIsBeforeIt) {
  write_every_kind();
  std::ifstream stream(path());
  std::size_t count = 0;
  for (std::string line; std::getline(stream, line); ++count) {
    const std::size_t key = line.size() - 45;
    Digest digest;
    digest.add(line.data(), key);
    EXPECT_EQ(line.substr(key), R"(,"digest":")" + digest.text() + "\"}");
    EXPECT_EQ(nlohmann::json::parse(line).at("digest"), digest.text());
  }
  EXPECT_EQ(count, 6U);
}

class JournalWithABitFlipped : public JournalTest, public testing::WithParamInterface<unsigned> {};

TEST_P(JournalWithABitFlipped, IsRefusedOrLosesItsLastLineAndSaysSo) {
  write_every_kind();
  const std::string whole = read_file(path());
  const std::string written = text_of(read_journal(path(), log_));
  const std::size_t last_line = whole.rfind('\n', whole.size() - 2);
  std::mt19937 random(GetParam());
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    std::string changed = whole;
    const std::size_t place = random() % whole.size();
    changed[place] = static_cast<char>(changed[place] ^ (1 << random() % 8));
    std::ofstream(path(), std::ios::binary) << changed;
    warnings_.clear();
    try {
      const std::string read = text_of(read_journal(path(), log_));
      if (warnings_.empty()) {
        // The flip took the name of a digest away, of which there is no other word.
        EXPECT_EQ(read, written) << "byte " << place;
        EXPECT_THAT(whole.substr(place - 10, 20), HasSubstr("digest"));
      } else {
        EXPECT_GE(place, last_line);
        EXPECT_THAT(warnings_, ElementsAre(HasSubstr("is dropped")));
      }
    } catch (const InputError& error) {
      ++refused;
      EXPECT_THAT(error.what(), HasSubstr("not a line of a study's journal"));
    }
  }
  EXPECT_GT(refused, 100);
}

INSTANTIATE_TEST_SUITE_P(Seeds, JournalWithABitFlipped, testing::Range(1U, 6U));

TEST_F(JournalTest, SaysOfALineThatIsNotWhatWasWrittenBothDigestsAndWhatToDo) {
  write(2);
  const std::string whole = read_file(path());
  std::string text = whole;
  const std::size_t begin = text.find('\n') + 1;
  const std::size_t end = text.find('\n', begin);
  const std::size_t accuracy = text.find("0.6", begin);
  ASSERT_LT(accuracy, end);
  text[accuracy + 2] = '7';
  write_file_atomically(path(), text);
  Digest found;
  found.add(text.data() + begin, end - 45 - begin);
  EXPECT_THAT(
      message_of_going_on<InputError>(),
      AllOf(HasSubstr("journal.jsonl:2: not a line of a study's journal"),
            HasSubstr("expected one of digest \"" + text.substr(end - 34, 32) + "\", found \"" + found.text() + "\""),
            HasSubstr("take it out, and compare --resume runs its trial again")));
  // What it says to do.
  write_file_atomically(path(), text.erase(begin, end + 1 - begin));
  const Journal journal = Journal::go_on(path(), plan_, log_);
  EXPECT_EQ(journal.finished().count(trials_[0].key()), 0U);
  EXPECT_EQ(journal.finished().count(trials_[1].key()), 1U);
}

TEST_F(JournalTest, DropsALastLineThatIsNotWhatWasWrittenAndSaysSo) {
  write(2);
  std::string text = read_file(path());
  text[text.rfind("0.6") + 2] = '7';
  write_file_atomically(path(), text);
  EXPECT_EQ(Journal::go_on(path(), plan_, log_).finished().size(), 1U);
  EXPECT_THAT(warnings_, ElementsAre(AllOf(HasSubstr("journal.jsonl:3: the last line is damaged (expected one of"),
                                           HasSubstr("found"), HasSubstr("its trial runs again"))));
}

TEST_F(JournalTest, TakesAPlanAloneOnlyAsItWasWritten) {
  write(0);
  std::string text = read_file(path());
  text[text.find("toy")] = 'b';
  write_file_atomically(path(), text);
  EXPECT_THAT(
      message_of_going_on<InputError>(),
      AllOf(HasSubstr("journal.jsonl:1"), HasSubstr("expected one of digest"), testing::Not(HasSubstr("take it out"))));
}

TEST_F(JournalTest, OfAnEarlierVersionIsReadAndGoneOnWith) {
  write(1);
  const std::string old = without_digests(read_file(path()));
  EXPECT_THAT(old, testing::Not(HasSubstr("digest")));
  write_file_atomically(path(), old);
  Journal journal = Journal::go_on(path(), plan_, log_);
  EXPECT_EQ(journal.finished().size(), 1U);
  journal.append(trials_[1], outcome_of(610, 300));
  const std::string both = read_file(path());
  EXPECT_EQ(both.substr(0, old.size()), old);
  EXPECT_THAT(both.substr(old.size()), HasSubstr(R"(,"digest":")"));
  EXPECT_EQ(read_journal(path(), log_).finished.size(), 2U);
  EXPECT_THAT(warnings_, IsEmpty());
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
