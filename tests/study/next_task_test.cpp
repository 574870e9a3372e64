#include "study/run/next_task.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "peft/registry.h"
#include "tests/peft/small_specs.h"
#include "tests/train/small_run.h"
#include "train/evaluation.h"

namespace dtrain::study {
namespace {

using train::random_data;
using train::short_run;

/// Four classes first, then numbers.
class NextTasks : public testing::Test {
 protected:
  NextTasks() {
    next.classifier = [](std::uint64_t seed) {
      return model::load_classifier({.directory = train::reference_directory() / "new_gelu",
                                     .pooling = model::Pooling::mean,
                                     .classes = 1,
                                     .head_seed = seed,
                                     .problem_type = ProblemType::regression,
                                     .device = train::test_device()});
    };
    next.train = [](std::int64_t samples, std::uint64_t seed) {
      return random_data(samples, seed, 2, ProblemType::regression);
    };
    next.dev = [](std::int64_t) { return random_data(30, 5, 2, ProblemType::regression); };
    next.test = random_data(40, 6, 2, ProblemType::regression);
  }

  at::Tensor logits(model::Classifier& classifier) const {
    return train::score(classifier, test, train::context_over(*alone));
  }

  /// Trains the first task, then the next one at `next_rate`.
  void run(const std::string& method, double next_rate) {
    first = train::classifier_with("new_gelu", method);
    options = short_run(method, 6);
    train::FeatureStore features(options.cache_memory);
    const auto context = train::context_over(*alone);
    train::train(*first, random_data(24, 4), {}, options, {}, context, features);
    before = logits(*first);
    head = first->classifier.weight.value().clone();
    const double score =
        train::evaluate(*first, test, train::objective_of(options.problem_type), context).metrics.value("accuracy");
    next.training = short_run(method, 6);
    next.training.problem_type = ProblemType::regression;
    next.training.select_metric = "mse";
    options.learning_rate = next_rate;
    const Trial trial{Trial::Phase::result, method, 24, next_rate, options.seed};
    measured = train_next_task(next, {*first, options, test, score}, trial, 4, context, features);
    EXPECT_EQ(measured.at("first_task_before"), score);
    EXPECT_EQ(measured.at("backward_transfer"), measured.at("first_task") - score);
    EXPECT_EQ(
        measured.at("first_task"),
        train::evaluate(*first, test, train::objective_of(options.problem_type), context).metrics.value("accuracy"));
    EXPECT_TRUE(at::equal(first->classifier.weight.value(), head)) << "the first task keeps its head";
    EXPECT_TRUE(measured.count("next_task"));
  }

  const std::unique_ptr<dist::Communicator> alone = dist::make_single_communicator();
  const train::Examples test = random_data(40, 6);
  NextTask next;
  train::TrainOptions options;
  std::unique_ptr<model::Classifier> first;
  at::Tensor before;
  at::Tensor head;
  std::map<std::string, double> measured;
};

TEST_F(NextTasks, BeginWithTheWeightsOfTheFirstAndHandThemBackWithEveryMethod) {
  for (const peft::MethodKind& kind : peft::method_kinds()) {
    // At a rate of almost zero the body stays what the first task made of it.
    run(peft::small_spec(kind.name), 1e-12);
    EXPECT_TRUE(at::allclose(logits(*first), before, 1e-4, 1e-5)) << kind.name;
  }
}

TEST_F(NextTasks, ChangeWhatTrainsAndNoFrozenBody) {
  // Without a dev set the weights of the last step are kept: of several phases, all.
  next.dev = [](std::int64_t) { return train::Examples(); };
  for (const peft::MethodKind& kind : peft::method_kinds()) {
    run(peft::small_spec(kind.name), 0.01);
    EXPECT_EQ(at::equal(logits(*first), before), kind.name == "head") << kind.name;
  }
  run("head", 0.01);
  EXPECT_EQ(measured.at("backward_transfer"), 0);
}

TEST_F(NextTasks, OfMethodsThatTakeFromTheBaseBeginWithWhatTheyLeft) {
  for (const char* init : {"pissa", "olora"}) {
    run(std::string("lora:init_lora_weights=") + init, 1e-12);
    EXPECT_TRUE(at::allclose(logits(*first), before, 1e-4, 1e-5)) << init;
  }
}

}  // namespace
}  // namespace dtrain::study
