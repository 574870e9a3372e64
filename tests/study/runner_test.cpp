#include "study/run/runner.h"

#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dist/communicator.h"
#include "tests/study/study_case.h"
#include "tests/train/small_run.h"

namespace dtrain::study {
namespace {

namespace fs = std::filesystem;

// A study of one method, with one learning rate and one seed, on a BERT of two layers.
class StudyOfOne : public testing::Test {
 protected:
  StudyOfOne() {
    plan_.methods = {{peft::parse_method_spec("full"), {0.001}, 0.001, 0.001}};
    plan_.result_seeds = {1};
    material_.classifier = [](std::uint64_t) {
      return model::load_classifier({.directory = model::reference_directory() / "no_dropout",
                                     .pooling = model::Pooling::mean,
                                     .classes = 4,
                                     .head_seed = 1,
                                     .device = model::test_device()});
    };
    material_.train = [](std::int64_t samples, std::uint64_t seed) { return train::random_data(samples, seed); };
    material_.dev = [](std::int64_t) { return train::random_data(20, 90); };
    material_.sets.emplace_back("test", train::random_data(20, 91));
    material_.training = train::short_run("full", 2);
  }
  ~StudyOfOne() override { fs::remove_all(directory_); }
  StudyOfOne(const StudyOfOne&) = delete;
  StudyOfOne& operator=(const StudyOfOne&) = delete;

  FinishedTrials run(const Log& log = {}) {
    fs::create_directories(directory_);
    Journal journal = Journal::begin(directory_ / "journal.jsonl", plan_);
    train::RunContext context = train::context_over(*communicator_);
    context.log = log;
    context.memory_advice = "less needs less";
    context.stop_requested = context.time_is_up = [this] { return journaled() >= trials_in_time_; };
    const Groups groups(context, 1);
    Post post{dist::make_single_mailbox(), dist::make_single_mailbox()};
    return run_study(plan_, material_, {}, &journal, {{"full", {}, {}, 0}}, trial_sizes(plan_, material_, 20), groups,
                     post, {}, context)
        .finished;
  }
  std::size_t journaled() const { return read_journal(directory_ / "journal.jsonl", {}).finished.size(); }

  std::unique_ptr<dist::Communicator> communicator_ = dist::make_single_communicator();
  StudyPlan plan_ = small_plan({}, {16});
  Material material_;
  // The time is up when so many have ended.
  std::size_t trials_in_time_ = 1000;
  fs::path directory_ = fs::path(testing::TempDir()) / ("runner" + std::to_string(getpid()));
};

TEST_F(StudyOfOne, RecordsARateThatBreaksTrainingAsAFailedTrial) {
  plan_.methods[0].learning_rates = {1e38};
  // The first step is of rate 0, the second breaks the weights, the third sees it.
  material_.training = train::short_run("full", 4);
  const auto finished = run();
  ASSERT_EQ(finished.size(), 1U);
  // A study chooses its learning rates itself, and has no checkpoint.
  EXPECT_THAT(finished.begin()->second.second.failure,
              testing::AllOf(testing::HasSubstr("not finite"), testing::Not(testing::HasSubstr("--lr")),
                             testing::Not(testing::HasSubstr("checkpoint"))));
  EXPECT_EQ(journaled(), 1U);
}

TEST_F(StudyOfOne, RecordsATrialThatNeedsMoreMemoryThanThereIsAndGoesOn) {
  plan_.methods[0].learning_rates = {1e-3};
  plan_.result_seeds = {1, 2, 3};
  // LibTorch's words for the second, the C++ library's for the third.
  int trials = 0;
  material_.dev = [&](std::int64_t) {
    ++trials;
    if (trials == 2) TORCH_CHECK(false, "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.");
    if (trials == 3) throw std::bad_alloc();
    return train::random_data(20, 90);
  };
  const auto finished = run();
  ASSERT_EQ(finished.size(), 3U);
  std::vector<std::string> failures;
  for (const auto& [key, trial] : finished) failures.push_back(trial.second.failure);
  EXPECT_THAT(failures, testing::UnorderedElementsAre(testing::IsEmpty(), testing::HasSubstr("(can't allocate memory"),
                                                      testing::Eq("out of memory; less needs less")));
  EXPECT_EQ(journaled(), 3U);
}

TEST_F(StudyOfOne, IsEndedByEveryOtherError) {
  // Of a disk, say, or of the program itself: no property of the method, so nothing that its results may hold.
  material_.dev = [](std::int64_t) -> train::Examples { throw TrainingError("no space left"); };
  EXPECT_THROW(run(), TrainingError);
  EXPECT_EQ(journaled(), 0U);
  material_.dev = [](std::int64_t) -> train::Examples { throw std::logic_error("a mistake"); };
  EXPECT_THROW(run(), std::logic_error);
  EXPECT_EQ(journaled(), 0U);
}

TEST_F(StudyOfOne, ThatItsTimeLimitStopsGoesOnLaterWhereATrialHasEnded) {
  plan_.methods[0].learning_rates = {1e-4, 1e-3, 1e-2};
  trials_in_time_ = 1;
  EXPECT_THAT([&] { run(); }, testing::ThrowsMessage<Stopped>(testing::HasSubstr("stopped by the time limit; 1 of")));
  EXPECT_EQ(journaled(), 1U);
  // Started again and again it would never come further.
  trials_in_time_ = 0;
  EXPECT_THAT([&] { run(); }, testing::ThrowsMessage<TrainingError>(testing::HasSubstr("before a single trial")));
}

TEST_F(StudyOfOne, KeepsWhichExamplesWereRight) {
  const auto finished = run();
  const TrialOutcome& outcome = finished.begin()->second.second;
  EXPECT_FALSE(outcome.failed()) << outcome.failure;
  EXPECT_EQ(outcome.scores.at("test").size(), 20U);
}

}  // namespace
}  // namespace dtrain::study
