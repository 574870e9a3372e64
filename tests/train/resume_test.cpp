// A run that is stopped and goes on ends in the bytes of the run that was left alone.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "tests/base/temporary_directory.h"
#include "tests/peft/small_specs.h"
#include "tests/train/small_run.h"
#include "train/checkpoint.h"
#include "train/evaluation.h"

namespace dtrain::train {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kResumeSteps = 12;  // four epochs of 20 examples in batches of 8, and an evaluation after each

struct Ended {
  at::Tensor values;
  TrainReport report;
};

class Resume : public testing::TestWithParam<std::tuple<const char*, int>> {
 protected:
  Resume() {
    at::set_num_threads(1);
    options.virtual_ranks = std::get<1>(GetParam());
    options.learning_rate = 0.01;
  }

  /// Trains anew; asked to stop after `stop_after` steps of this process, where not 0, and in the first evaluation
  /// after `stop_evaluation_after`, where not 0.
  Ended run(const RunFiles& files, std::int64_t stop_after = 0, std::int64_t stop_evaluation_after = 0) {
    const auto classifier = classifier_with("new_gelu", options.method.text());
    RunContext context = context_over(*alone);
    std::int64_t steps = 0;
    context.stop_requested = [&] { return ++steps == stop_after; };
    context.end_if_stopped = [&] {
      if (steps > 0 && steps == stop_evaluation_after) throw Stopped("asked to");
    };
    FeatureStore features(options.cache_memory);
    const auto report = train(*classifier, examples, dev, options, files, context, features);
    return {all_values(*classifier), report};
  }

  RunFiles files(bool resume) const { return {directory / "log.jsonl", directory / "checkpoint", resume}; }

  std::string logged() const { return read_file(directory / "log.jsonl"); }

  TrainOptions options = short_run(std::get<0>(GetParam()), kResumeSteps);
  const std::unique_ptr<dist::Communicator> alone = dist::make_single_communicator();
  const Examples examples = random_data(20, 4);
  // By another rule than `examples`: what is learnt makes it worse, and the best step is not the last.
  const Examples dev = random_data(30, 5, 1);
  const TemporaryDirectory temporary;
  const fs::path directory = temporary.path() / "run";
};

TEST_P(Resume, AtAnyStepEndsInTheSameBytes) {
  const Ended whole = run({});
  EXPECT_LT(whole.report.best_step, kResumeSteps) << "the best so far would not be tested";
  for (std::int64_t stop = 1; stop < kResumeSteps; ++stop) {
    SCOPED_TRACE(stop);
    fs::remove_all(directory);
    fs::create_directories(directory);
    EXPECT_THAT([&] { run(files(false), stop); },
                testing::ThrowsMessage<Stopped>(testing::HasSubstr("go on with --resume")));
    const Ended resumed = run(files(true));
    EXPECT_TRUE(at::equal(resumed.values, whole.values));
    EXPECT_EQ(resumed.report.best_step, whole.report.best_step);
    EXPECT_EQ(resumed.report.dev->metrics.value("log_loss"), whole.report.dev->metrics.value("log_loss"));
    EXPECT_EQ(resumed.report.steps, kResumeSteps);
    EXPECT_EQ(resumed.report.flop, whole.report.flop);
  }
}

TEST_P(Resume, OfARunThatWasStoppedInAnEvaluationOfDevBeginsWithThatEvaluation) {
  const Ended whole = run({});
  std::vector<CurvePoint> left = whole.report.curve;
  ASSERT_EQ(left.back().step, kResumeSteps);
  while (!left.empty()) {
    const std::int64_t stop = left.front().step;
    SCOPED_TRACE(stop);
    fs::remove_all(directory);
    fs::create_directories(directory);
    EXPECT_THAT([&] { run(files(false), 0, stop); },
                testing::ThrowsMessage<Stopped>(testing::HasSubstr("the checkpoint is written, go on with --resume")));
    EXPECT_TRUE(fs::exists(directory / "checkpoint" / ("step-" + std::to_string(stop)) / "state.json"));
    for (int again = 0; again < 2; ++again) {  // the second time from the end
      const Ended resumed = run(files(true));
      EXPECT_TRUE(at::equal(resumed.values, whole.values));
      EXPECT_EQ(resumed.report.best_step, whole.report.best_step);
      EXPECT_EQ(resumed.report.dev->metrics.value("log_loss"), whole.report.dev->metrics.value("log_loss"));
      ASSERT_EQ(resumed.report.curve.size(), again == 0 ? left.size() : 0);
      for (std::size_t i = 0; i < resumed.report.curve.size(); ++i)
        EXPECT_EQ(resumed.report.curve[i].metrics.at("log_loss"), left[i].metrics.at("log_loss"));
    }
    left.erase(left.begin());
  }
}

TEST_P(Resume, OfATrainedRunThatWasStoppedWhileItsBestStepWasScoredTrainsNoMore) {
  const Ended whole = run({});
  fs::create_directories(directory);
  const std::int64_t stop = kResumeSteps - 1;
  ASSERT_LE(whole.report.best_step, stop) << "it would not be scored again";
  EXPECT_THROW(run(files(false), stop), Stopped);
  // Not the evaluation after the last step, which is before the log has its last line.
  std::int64_t evaluations = 0;
  const auto classifier = classifier_with("new_gelu", options.method.text());
  RunContext context = context_over(*alone);
  context.log.line = [&](std::string_view text) { evaluations += text.find("  dev ") == text.npos ? 0 : 1; };
  context.end_if_stopped = [&] {
    if (evaluations > 0) throw Stopped("asked to");
  };
  FeatureStore features(options.cache_memory);
  EXPECT_THROW(train(*classifier, examples, dev, options, files(true), context, features), Stopped);
  EXPECT_TRUE(fs::exists(directory / "checkpoint" / "step-12" / "state.json"));
  EXPECT_TRUE(at::equal(run(files(true)).values, whole.values));
}

TEST_P(Resume, FromSavedStepsAfterACrashEndsInTheSameBytes) {
  const Ended whole = run({});
  options.save_steps = 5;
  options.log_steps = 1;
  fs::create_directories(directory);
  const Ended saved = run(files(false));
  EXPECT_TRUE(at::equal(saved.values, whole.values));
  // As if the process had ended after step 12 without a word: the last checkpoint is that of step 10.
  const Ended resumed = run(files(true));
  EXPECT_TRUE(at::equal(resumed.values, whole.values));
  std::int64_t line = 0;
  std::istringstream lines(logged());
  for (std::string text; std::getline(lines, text);) {
    EXPECT_EQ(nlohmann::json::parse(text)["step"].get<std::int64_t>(), ++line);
  }
  EXPECT_EQ(line, kResumeSteps);
}

TEST_P(Resume, OfARunThatStopsEarlyEndsInTheSameBytes) {
  const auto curve = run({}).report.curve;
  options.patience = 1;
  const Ended whole = run({});
  // As the evaluations of the whole run say. The last phase of a method that has several is the last half at most.
  EXPECT_LE(whole.report.steps, kResumeSteps);
  EXPECT_EQ(whole.report.curve.back().step, whole.report.steps);
  EXPECT_EQ(whole.report.planned_steps, kResumeSteps);
  for (std::size_t i = 0; i < whole.report.curve.size(); ++i)
    EXPECT_EQ(whole.report.curve[i].metrics.at("log_loss"), curve[i].metrics.at("log_loss"));
  for (std::int64_t stop = 1; stop < whole.report.steps; ++stop) {
    SCOPED_TRACE(stop);
    fs::remove_all(directory);
    fs::create_directories(directory);
    EXPECT_THROW(run(files(false), stop), Stopped);
    for (int again = 0; again < 2; ++again) {  // the second time from the end
      const Ended resumed = run(files(true));
      EXPECT_TRUE(at::equal(resumed.values, whole.values));
      EXPECT_EQ(resumed.report.steps, whole.report.steps);
      EXPECT_EQ(resumed.report.best_step, whole.report.best_step);
      EXPECT_EQ(resumed.report.flop, whole.report.flop);
    }
  }
}

TEST_P(Resume, FromACheckpointWithItsIdentityAndOtherContentIsRefused) {
  fs::create_directories(directory);
  EXPECT_THROW(run(files(false), 3), Stopped);
  const fs::path state = fs::directory_iterator(directory / "checkpoint")->path() / "state.json";
  const auto identity =
      nlohmann::json::parse(read_file(state)).at("identity").get<std::map<std::string, std::string>>();
  const auto whole = read_checkpoint(directory / "checkpoint", identity, Log());
  ASSERT_TRUE(whole);
  const auto refused = [&](const std::string& says, const auto& change) {
    Checkpoint changed = *whole;
    change(changed);
    fs::remove_all(directory / "checkpoint");
    write_checkpoint(directory / "checkpoint", changed);
    EXPECT_THAT([&] { run(files(true)); }, testing::ThrowsMessage<InputError>(testing::HasSubstr(says)));
  };
  refused("expected at most step 12, found 1000000", [](Checkpoint& changed) { changed.step = 1'000'000; });
  refused("trainable parameters, found 1", [](Checkpoint& changed) {
    for (auto* tensor : {&changed.values, &changed.first_moments, &changed.second_moments}) *tensor = at::ones({1});
    changed.best_values = at::Tensor();
  });
}

TEST_P(Resume, WithOtherOptionsOrAnotherModelIsRefusedNamingThem) {
  fs::create_directories(directory);
  EXPECT_THROW(run(files(false), 3), Stopped);
  const TrainOptions before = options;
  const auto refused = [&](const std::string& what) {
    EXPECT_THAT([&] { run(files(true)); }, testing::ThrowsMessage<UsageError>(testing::HasSubstr(what)));
    options = before;
  };
  options.learning_rate = 1e-3;
  refused("learning rate was '0.01' and is now '0.001'");
  options.seed = 6;
  refused("seed");
  options.max_steps = 13;
  refused("steps");
  options.weight_decay = 0.5;
  refused("weight decay");
  options.warmup_ratio = 0.5;
  refused("warm-up");
  options.max_gradient_norm = 7;
  refused("gradient norm");
  options.select_metric = "accuracy";
  refused("select metric");
  options.patience = 2;
  refused("patience");
  options.loss.label_smoothing = 0.1;
  refused("loss");
  if (options.virtual_ranks == 0) {
    options.reduce_format = dist::WireFormat::bf16;
    refused("reduce precision was 'fp32' and is now 'bf16'");
  }

  // The frozen weights are in no checkpoint: another base model would go on in silence.
  const auto other = classifier_with("new_gelu", options.method.text());
  other->encoder().embedding_parameters()[0]->set_value(other->encoder().embedding_parameters()[0]->value() * 1.0001);
  FeatureStore features(options.cache_memory);
  EXPECT_THAT([&] { train(*other, examples, dev, options, files(true), context_over(*alone), features); },
              testing::ThrowsMessage<UsageError>(testing::HasSubstr("model")));
  // Steps that were scored on one set do not compare with those scored on another.
  const auto same = classifier_with("new_gelu", options.method.text());
  const Examples other_dev = random_data(30, 5, 2);
  EXPECT_THAT([&] { train(*same, examples, other_dev, options, files(true), context_over(*alone), features); },
              testing::ThrowsMessage<UsageError>(testing::HasSubstr("dev data was")));
}

std::string resume_case_name(const testing::TestParamInfo<Resume::ParamType>& instance) {
  std::string method = std::get<0>(instance.param);
  std::erase(method, '-');
  return method.substr(0, method.find(':')) + "_" + std::to_string(std::get<1>(instance.param)) + "_virtual_ranks";
}

INSTANTIATE_TEST_SUITE_P(Methods, Resume,
                         testing::Combine(testing::Values("full", "lora", "adalora", "head", "layers:k=1", "lp-ft",
                                                          "gradual"),
                                          testing::Values(0, 2)),
                         resume_case_name);

TEST(Training, StopsAfterAsManyEvaluationsThatWereNoBetterAsItHasPatience) {
  const auto alone = dist::make_single_communicator();
  const auto examples = random_data(20, 4);
  const auto dev = random_data(30, 5, 1);  // what is learnt makes it worse
  TrainOptions options = short_run("full", 15);
  options.learning_rate = 0.01;
  const auto report_with = [&](std::int64_t patience) {
    options.patience = patience;
    const auto classifier = classifier_with("new_gelu", "full");
    FeatureStore features(options.cache_memory);
    return train(*classifier, examples, dev, options, {}, context_over(*alone), features);
  };
  const auto curve = report_with(0).curve;
  ASSERT_EQ(curve.size(), 5U);
  std::set<std::int64_t> stops;
  for (std::int64_t patience = 1; patience <= 4; ++patience) {
    std::int64_t stop = curve.back().step;
    double best = std::numeric_limits<double>::infinity();
    std::int64_t no_better = 0;
    for (const CurvePoint& point : curve) {
      const double loss = point.metrics.at("log_loss");
      no_better = loss < best ? 0 : no_better + 1;
      best = std::min(best, loss);
      if (no_better < patience) continue;
      stop = point.step;
      break;
    }
    const TrainReport report = report_with(patience);
    EXPECT_EQ(report.steps, stop) << patience;
    EXPECT_EQ(report.stopped_early(), stop < 15) << patience;
    stops.insert(report.steps);
  }
  EXPECT_GT(stops.size(), 1U) << "nothing would have been tested";
}

TEST(Training, StopsWhileThereIsTimeForAStepAndACheckpointAsLongAsTheLongest) {
  const auto alone = dist::make_single_communicator();
  const TemporaryDirectory temporary;
  RunContext context = context_over(*alone);
  std::int64_t steps = 0;
  context.stop_requested = [&] {
    ++steps;
    return false;
  };
  // What is left after the third step is less than any step takes.
  context.seconds_left = [&] { return steps < 3 ? 3600 : 1e-7; };
  const auto run = [&](const RunFiles& files) {
    const auto classifier = classifier_with("new_gelu", "head");
    FeatureStore features(0);
    train(*classifier, random_data(20, 4), {}, short_run("head", 8), files, context, features);
  };
  EXPECT_THAT(
      [&] {
        run({{}, temporary.path() / "checkpoint"});
      },
      testing::ThrowsMessage<Stopped>(testing::HasSubstr("stopped by the time limit after step 3 of 8")));
  EXPECT_TRUE(fs::exists(temporary.path() / "checkpoint" / "step-3"));
  // Where nothing can be kept, to stop early would be of no use.
  steps = 0;
  EXPECT_NO_THROW(run({}));
}

TEST(Training, ThatGoesOnWithAnEvaluationLongerThanItsTimeIsAnError) {
  const auto alone = dist::make_single_communicator();
  const TemporaryDirectory temporary;
  RunContext context = context_over(*alone);
  bool is_up = false;
  context.stop_requested = [&] { return is_up = true; };
  context.time_is_up = [&] { return is_up; };
  context.end_if_stopped = [&] {
    if (is_up) throw Stopped("asked to");
  };
  const TrainOptions options = short_run("lora", 2);
  const auto run = [&](bool resume) {
    const auto classifier = classifier_with("new_gelu", "lora");
    FeatureStore features(0);
    train(*classifier, random_data(8, 4), random_data(30, 5), options, {{}, temporary.path() / "checkpoint", resume},
          context, features);
  };
  EXPECT_THROW(run(false), Stopped);
  EXPECT_THAT([&] { run(true); },
              testing::ThrowsMessage<TrainingError>(testing::HasSubstr("before dev was evaluated after step 1")));
}

TEST(Training, WithoutADevSetKeepsTheLastStep) {
  const auto alone = dist::make_single_communicator();
  const auto classifier = classifier_with("new_gelu", "head");
  FeatureStore features(0);
  const auto report =
      train(*classifier, random_data(20, 4), {}, short_run("head", 5), {}, context_over(*alone), features);
  EXPECT_EQ(report.best_step, 5);
  EXPECT_FALSE(report.dev);
}

// Dev has a word that training has not, whose vector is no number until step `repaired_after` (0: for ever).
Ended run_with_a_word_that_is_no_number(std::int64_t repaired_after, std::vector<std::string>& warnings) {
  at::set_num_threads(1);
  constexpr std::int64_t kWord = 100;
  const auto alone = dist::make_single_communicator();
  const auto classifier = classifier_with("new_gelu", "lora");
  const auto word = classifier->encoder().embedding_parameters()[0]->value().select(0, kWord);
  word.fill_(std::numeric_limits<double>::quiet_NaN());
  const auto dev = dataset_of(at::tensor({std::int64_t{1}, std::int64_t{7}, kWord, std::int64_t{2}, std::int64_t{9}}),
                              at::zeros({5}, at::kLong), at::tensor({0, 3, 5}), at::tensor({0, 1}), 4);
  RunContext context = context_over(*alone);
  context.log.warning = [&](std::string_view text) { warnings.emplace_back(text); };
  std::int64_t steps = 0;
  context.stop_requested = [&] {
    if (++steps == repaired_after) word.zero_();
    return false;
  };
  FeatureStore features(0);
  const auto report =
      train(*classifier, random_data(20, 4), dev, short_run("lora", kResumeSteps), {}, context, features);
  return {all_values(*classifier), report};
}

TEST(Training, TakesNoStepForTheBestWhoseMetricIsNoNumber) {
  std::vector<std::string> warnings;
  const Ended ended = run_with_a_word_that_is_no_number(4, warnings);
  EXPECT_GT(ended.report.best_step, 3) << "dev was first scored after step 3";
  EXPECT_TRUE(std::isfinite(ended.report.dev->metrics.value("log_loss")));
  EXPECT_TRUE(warnings.empty());
}

TEST(Training, KeepsTheLastStepAndSaysSoWhereDevNeverGivesANumber) {
  std::vector<std::string> warnings;
  const Ended ended = run_with_a_word_that_is_no_number(0, warnings);
  EXPECT_EQ(ended.report.best_step, kResumeSteps);
  ASSERT_TRUE(ended.report.dev);
  EXPECT_TRUE(std::isnan(ended.report.dev->metrics.value("log_loss")));
  EXPECT_THAT(warnings, testing::ElementsAre(testing::HasSubstr("no evaluation on dev gave a number for log_loss")));
}

TEST(Training, KeepsTheBestStepOfAnEarlierPhase) {
  at::set_num_threads(1);
  const auto alone = dist::make_single_communicator();
  for (const char* method : {"lp-ft:head_share=0.5:head_learning_rate=1e-4", "gradual:head_learning_rate=1e-4"}) {
    const auto classifier = classifier_with("new_gelu", method);
    const auto words = classifier->encoder().embedding_parameters()[0]->value().clone();
    const auto dense = classifier->encoder().layer(2).output.weight.value().clone();
    FeatureStore features(1 << 24);
    TrainOptions options = short_run(method, 24);
    // Nothing good comes of the later phases.
    options.learning_rate = 0.1;
    // By another rule than the examples: whatever is learnt makes it worse.
    const auto report =
        train(*classifier, random_data(20, 4), random_data(30, 5, 1), options, {}, context_over(*alone), features);
    EXPECT_LE(report.best_step, method[0] == 'l' ? 12 : 3) << method;
    EXPECT_TRUE(at::equal(classifier->encoder().embedding_parameters()[0]->value(), words)) << method;
    EXPECT_TRUE(at::equal(classifier->encoder().layer(2).output.weight.value(), dense)) << method;
    EXPECT_EQ(evaluate(*classifier, random_data(30, 5, 1), objective_of(options.problem_type), context_over(*alone))
                  .metrics.value("log_loss"),
              report.dev->metrics.value("log_loss"))
        << method;
    EXPECT_GT(report.trainable_parameters, words.numel()) << "everything trains in the end";
  }
}

TEST(Training, LearnsWhatCanBeLearnt) {
  at::set_num_threads(1);
  const auto alone = dist::make_single_communicator();
  const auto examples = random_data(200, 4);
  for (const peft::MethodKind& kind : peft::method_kinds()) {
    const std::string spec = peft::small_spec(kind.name);
    const auto classifier = classifier_with("new_gelu", spec);
    TrainOptions options = short_run(spec, 150);
    // With seed 0, one of six, p-tuning's rate is too high for it.
    options.seed = 1;
    // A small model takes more than the grids, which are for pretrained ones.
    options.learning_rate = std::max(kind.family == "freezing" ? 3e-3 : 0, kind.learning_rates.back());
    FeatureStore features(options.cache_memory);
    const auto report = train(*classifier, examples, random_data(100, 9), options, {}, context_over(*alone), features);
    // Four classes, told by the first token, which is averaged with a dozen others.
    EXPECT_GT(report.dev->metrics.value("accuracy"), 0.4) << kind.name;
  }
}

}  // namespace
}  // namespace dtrain::train
