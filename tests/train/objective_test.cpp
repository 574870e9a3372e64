#include "train/objective.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/registry.h"
#include "tests/base/failure_of.h"
#include "tests/peft/small_specs.h"
#include "tests/train/small_run.h"
#include "train/optimizer.h"
#include "train/training_step.h"

namespace dtrain::train {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr auto kSingle = ProblemType::single_label_classification;
constexpr auto kMulti = ProblemType::multi_label_classification;
constexpr auto kRegression = ProblemType::regression;

std::filesystem::path references() { return reference_directory() / "train" / "objectives"; }

// Targets as Examples hold them, from the tensors that objective_reference.py wrote.
data::Targets targets_from(const at::Tensor& tensor, ProblemType type, std::int64_t outputs) {
  if (type == kSingle) {
    const auto plain = tensor.to(at::kInt).contiguous();
    const auto* values = plain.const_data_ptr<std::int32_t>();
    return data::Targets::of_classes({values, values + plain.numel()}, outputs);
  }
  std::vector<std::vector<std::int32_t>> sets(static_cast<std::size_t>(tensor.size(0)));
  std::vector<std::vector<double>> numbers(sets.size());
  for (std::int64_t i = 0; i < tensor.size(0); ++i) {
    for (std::int64_t j = 0; j < tensor.size(1); ++j) {
      const double value = tensor[i][j].item<double>();
      numbers[static_cast<std::size_t>(i)].push_back(value);
      if (value > 0) sets[static_cast<std::size_t>(i)].push_back(static_cast<std::int32_t>(j));
    }
  }
  return type == kMulti ? data::Targets::of_label_sets(sets, outputs) : data::Targets::of_numbers(numbers, outputs);
}

TEST(Objective, HasTheLossAndTheGradientsOfTransformersForEachTypeAndFamily) {
  at::set_num_threads(1);
  const auto alone = dist::make_single_communicator();
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(references())) {
    if (!std::filesystem::exists(entry.path() / "config.json")) continue;
    SCOPED_TRACE(entry.path().filename());
    const model::SafetensorsFile expected(entry.path() / "expected.safetensors");
    // What the outputs are is for config.json to say.
    const auto classifier = model::load_classifier({.directory = entry.path(), .pooling = {}, .trained_head = true});
    const ProblemType type = classifier->problem_type;
    EXPECT_TRUE(entry.path().filename().string().starts_with(problem_type_name(type)));
    for (model::Parameter* parameter : classifier->parameters())
      parameter->set_value(parameter->value().to(at::kDouble));
    peft::make_method({"full", {}})->attach(*classifier, {});
    const auto examples = examples_of(expected.tensor("ids"), expected.tensor("types"), expected.tensor("offsets"),
                                      targets_from(expected.tensor("targets"), type, classifier->classes()));
    TrainOptions options = short_run("full", 1);
    options.problem_type = type;
    options.batch_size = examples.size();
    const RunContext context = context_over(*alone);
    for (const std::int64_t micro : {0, 2}) {
      options.micro_batch_size = micro;
      FeatureStore features(0);
      FlatParameters parameters = flatten(*classifier);
      TrainingStep step(*classifier, parameters, options, examples, context, features);
      EXPECT_NEAR(step.run(0).loss, expected.tensor("loss").item<double>(), 1e-10);
      for (const model::Parameter* parameter : parameters.parameters) {
        const auto gradient = expected.tensor("gradient " + parameter->name());
        EXPECT_LT((parameter->gradient() - gradient).abs().max().item<double>(), 1e-9) << parameter->name();
      }
    }
    ++cases;
  }
  EXPECT_EQ(cases, 15);
}

TEST(Objective, WeighsAndSmoothsAsTorchAndTransformersDo) {
  const model::SafetensorsFile file(references() / "losses.safetensors");
  const auto classes = file.tensor("classes");
  const auto sets = file.tensor("sets");
  const auto plain = file.tensor("weight").contiguous();
  const auto* begin = plain.const_data_ptr<double>();
  const std::vector<double> weight(begin, begin + plain.numel());
  struct Case {
    const char* name;
    ProblemType type;
    LossOptions options;
    double tolerance;
  };
  const std::vector<Case> cases = {{"weighted", kSingle, {weight, false, 0}, 1e-12},
                                   {"balanced", kSingle, {{}, true, 0}, 1e-12},
                                   {"smooth", kSingle, {{}, false, 0.3}, 1e-12},
                                   {"smooth_by_transformers", kSingle, {{}, false, 0.3}, 1e-6},
                                   {"smooth_weighted", kSingle, {weight, false, 0.3}, 1e-12},
                                   {"positive_weighted", kMulti, {weight, false, 0}, 1e-12},
                                   {"positive_balanced", kMulti, {{}, true, 0}, 1e-12}};
  for (const Case& each : cases) {
    SCOPED_TRACE(each.name);
    const auto& objective = objective_of(each.type);
    const auto tensor = each.type == kSingle ? classes : sets;
    const auto targets = targets_from(tensor, each.type, 5);
    const Loss loss = objective.make_loss(each.options, targets, at::kCPU);
    // In two parts, as two ranks would.
    const std::vector<std::int64_t> batch = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    auto logits = file.tensor("logits").clone().set_requires_grad(true);
    const auto part = [&](std::int64_t first, std::int64_t last) {
      return objective.loss_sum(logits.slice(0, first, last), tensor.slice(0, first, last), loss);
    };
    const auto mean = (part(0, 5) + part(5, 12)) / objective.loss_divisor(targets, batch, loss);
    torch::autograd::backward({mean}, {});
    const std::string name = each.name;
    EXPECT_NEAR(mean.item<double>(), file.tensor(name + " loss").item<double>(), each.tolerance);
    EXPECT_LT((logits.grad() - file.tensor(name + " gradient")).abs().max().item<double>(), each.tolerance);
  }
}

TEST(Objective, WhoseBatchWeighsNothingHasNoLoss) {
  const auto& objective = objective_of(kSingle);
  const auto targets = data::Targets::of_classes({0, 0}, 2);
  const Loss loss = objective.make_loss({{0, 1}, false, 0}, targets, at::kCPU);
  const auto sum = objective.loss_sum(at::ones({2, 2}), at::zeros({2}, at::kLong), loss);
  EXPECT_EQ(sum.item<double>() / objective.loss_divisor(targets, {0, 1}, loss), 0);
}

TEST(Objective, RefusesByNameWhatItHasNoUseFor) {
  const auto refused = [](ProblemType type, const LossOptions& options) {
    const auto targets = type == kMulti        ? data::Targets::of_label_sets({{0}}, 3)
                         : type == kRegression ? data::Targets::of_numbers({{1.5}}, 1)
                                               : data::Targets::of_classes({0}, 3);
    return failure_of<UsageError>([&] { objective_of(type).make_loss(options, targets, at::kCPU); });
  };
  EXPECT_THAT(refused(kMulti, {{}, false, 0.1}), HasSubstr("--label-smoothing"));
  EXPECT_THAT(refused(kRegression, {{}, false, 0.1}), HasSubstr("--label-smoothing"));
  EXPECT_THAT(refused(kRegression, {{}, true, 0}), HasSubstr("--class-weights"));
  for (const ProblemType type : {kSingle, kMulti}) {
    EXPECT_THAT(refused(type, {{1, 2}, false, 0}), HasSubstr("2 weights; expected 3"));
    EXPECT_THAT(refused(type, {{1, 2, -1}, false, 0}), HasSubstr("found -1"));
  }
}

// One number an example, whose mean is the metric of the name.
void expect_scores(const Objective& objective, const at::Tensor& logits, const at::Tensor& targets) {
  const auto scores = objective.example_scores(logits, targets);
  EXPECT_EQ(scores.sizes(), (at::IntArrayRef{targets.size(0)}));
  EXPECT_NEAR(scores.mean().item<double>(), objective.metrics(logits, targets).value(objective.score_metric()), 1e-12);
}

// What an example adds to a metric that is a mean is the metric of that example alone.
void expect_values(const Objective& objective, const at::Tensor& logits, const at::Tensor& targets) {
  for (const std::string& metric : objective.mean_metrics()) {
    SCOPED_TRACE(metric);
    const auto values = objective.example_values(metric, logits, targets);
    ASSERT_EQ(values.sizes(), (at::IntArrayRef{targets.size(0)}));
    const double mean = objective.metrics(logits, targets).value(metric);
    EXPECT_NEAR(values.mean().item<double>(), mean, 1e-12 * std::max(1.0, mean));
    for (std::int64_t i = 0; i < std::min<std::int64_t>(targets.size(0), 20); ++i) {
      const double alone = objective.metrics(logits.narrow(0, i, 1), targets.narrow(0, i, 1)).value(metric);
      EXPECT_NEAR(values[i].item<double>(), alone, 1e-12 * std::max(1.0, alone)) << i;
    }
  }
}

TEST(Objective, HasTheMetricsOfScikitLearnAndScipy) {
  int cases = 0;
  for (const ProblemType type : {kMulti, kRegression}) {
    const auto& objective = objective_of(type);
    for (const auto& entry :
         std::filesystem::directory_iterator(references() / (type == kMulti ? "multi_label" : "regression"))) {
      SCOPED_TRACE(entry.path().stem());
      const model::SafetensorsFile expected(entry.path());
      const auto logits = expected.tensor("logits");
      const auto targets = expected.tensor("targets");
      const auto metrics = objective.metrics(logits, targets);
      EXPECT_EQ(metrics.examples, logits.size(0));
      for (const MetricKind& kind : objective.metric_kinds()) {
        const double value = expected.tensor(kind.name).item<double>();
        if (std::isnan(value)) {
          EXPECT_TRUE(std::isnan(metrics.value(kind.name))) << kind.name;
        } else {
          // far_from_zero: numbers of a million are what they are to 1e-10.
          EXPECT_NEAR(metrics.value(kind.name), value, entry.path().stem() == "far_from_zero" ? 1e-8 : 1e-12)
              << kind.name;
        }
      }
      expect_scores(objective, logits, targets);
      expect_values(objective, logits, targets);
      ++cases;
      if (type != kMulti) continue;
      std::vector<std::string> labels;
      for (std::int64_t label = 0; label < logits.size(1); ++label) labels.push_back(std::to_string(label));
      const auto details = objective.details(logits, targets, labels);
      for (std::int64_t label = 0; label < logits.size(1); ++label) {
        const auto& found = details.at("classes").at(labels[static_cast<std::size_t>(label)]);
        for (const char* name : {"precision", "recall", "f1", "support"})
          EXPECT_NEAR(found.at(name).get<double>(), expected.tensor(name)[label].item<double>(), 1e-12) << name;
      }
    }
  }
  EXPECT_EQ(cases, 14);
}

TEST(Objective, AnswersThatAreNoNumbersHaveNoCalibration) {
  const auto logits = at::full({3, 4}, std::numeric_limits<double>::quiet_NaN(), at::kDouble);
  const auto metrics = objective_of(kSingle).metrics(logits, at::tensor({2, 0, 1}, at::kLong));
  EXPECT_TRUE(std::isnan(metrics.value("calibration_error")));
  EXPECT_TRUE(std::isnan(metrics.value("log_loss")));
}

TEST(Objective, IsAsSureOfAClassAsItsProbability) {
  const auto logits = at::randn({50, 7}, at::kDouble) * 4;
  const auto& objective = objective_of(kSingle);
  const auto [probabilities, classes] = at::softmax(logits, 1).max(1);
  const auto found = objective.confidences(logits);
  ASSERT_EQ(found.size(), 50U);
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    EXPECT_EQ(objective.predicted_classes(logits)[i], classes[row].item<std::int64_t>());
    EXPECT_NEAR(found[i], probabilities[row].item<double>(), 1e-7);
  }
  for (const ProblemType type : {kMulti, kRegression})
    EXPECT_EQ(objective_of(type).confidences(logits).size(), objective_of(type).predicted_classes(logits).size());
}

TEST(Objective, UntrainedAnswersWhatIsMostFrequent) {
  const auto single = objective_of(kSingle).untrained(at::tensor({2, 2, 0, 2, 3}, at::kLong), 5);
  EXPECT_DOUBLE_EQ(single.value("accuracy"), 0.6);
  EXPECT_NEAR(single.value("log_loss"), -(0.6 * std::log(0.6) + 0.4 * std::log(0.2)), 1e-12);
  const auto sets = at::tensor({1.0, 1.0, 0.0, 1.0, 0.0, 0.0}, at::kDouble).view({3, 2});
  const auto multi = objective_of(kMulti).untrained(sets, 2);
  EXPECT_DOUBLE_EQ(multi.value("subset_accuracy"), 1.0 / 3);  // the second label, always
  EXPECT_DOUBLE_EQ(multi.value("micro_f1"), 2.0 * 2 / (3 + 3));
  const auto numbers = at::tensor({1.0, 2.0, 6.0}, at::kDouble).view({3, 1});
  const auto regression = objective_of(kRegression).untrained(numbers, 1);
  EXPECT_DOUBLE_EQ(regression.value("mse"), 14.0 / 3);
  EXPECT_NEAR(regression.value("r2"), 0, 1e-12);
  EXPECT_TRUE(std::isnan(regression.value("pearson")));
  for (const Objective* objective : objectives()) {
    const bool classes = objective->type() == kSingle;
    const auto none = classes ? at::empty({0}, at::kLong) : at::empty({0, 2}, at::kDouble);
    EXPECT_EQ(objective->untrained(none, 2).examples, 0);
  }
}

TEST(Objective, ExplainsAllOrNothingOfWhatIsConstant) {
  // The mean of a hundred 3.3 is another number.
  const auto truth = at::full({100, 1}, 3.3, at::kDouble);
  EXPECT_EQ(objective_of(kRegression).metrics(at::ones_like(truth), truth).value("r2"), 0);
  EXPECT_EQ(objective_of(kRegression).metrics(truth, truth).value("r2"), 1);
}

TEST(Objective, WritesAnswersAsPeopleReadThem) {
  const std::vector<std::string> labels = {"a", "b\tc"};
  const auto logits = at::tensor({2.0, -1.0, -1.0, 3.0, -3.0, -2.0}, at::kDouble).view({3, 2});
  const auto single = objective_of(kSingle).predictions(logits, labels, true);
  EXPECT_EQ(single.header, "predicted\tprobability\tp(a)\tp(b c)");
  EXPECT_EQ(single.rows[1], "b c\t0.982014\t0.017986\t0.982014");
  EXPECT_EQ(objective_of(kSingle).predictions(logits, labels, false).rows[0], "a\t0.952574");
  const auto multi = objective_of(kMulti).predictions(logits, labels, true);
  EXPECT_EQ(multi.header, "predicted\tp(a)\tp(b c)");
  EXPECT_EQ(multi.rows[0], "[\"a\"]\t0.880797\t0.268941");
  EXPECT_EQ(multi.rows[2], "[]\t0.047426\t0.119203");
  EXPECT_EQ(objective_of(kMulti).answers(data::Targets::of_label_sets({{}, {1, 0}}, 2), {"a", "ü"}).rows[1],
            "[\"a\",\"ü\"]");
  const auto one = objective_of(kRegression).predictions(logits.slice(1, 0, 1), {"LABEL_0"}, true);
  EXPECT_EQ(one.header, "predicted");
  EXPECT_EQ(one.rows[0], "2");
  const auto two = objective_of(kRegression).answers(data::Targets::of_numbers({{0.5, -1}}, 2), {"x", "y"});
  EXPECT_EQ(two.header, "label(x)\tlabel(y)");
  EXPECT_EQ(two.rows[0], "0.5\t-1");
}

TEST(Objective, TellsAllThatItsNamesPromise) {
  for (const Objective* objective : objectives()) {
    SCOPED_TRACE(problem_type_name(objective->type()));
    const auto targets = objective->type() == kSingle ? at::zeros({3}, at::kLong) : at::ones({3, 2}, at::kDouble);
    const auto metrics = objective->metrics(at::randn({3, 2}), targets);
    for (const std::string& name : objective->headline_metrics()) EXPECT_NO_THROW(metrics.value(name));
    expect_values(*objective, at::randn({3, 2}, at::kDouble), targets);
    EXPECT_THAT(objective->mean_metrics(), testing::Not(testing::Contains(objective->score_metric())));
    EXPECT_THROW(objective->example_values("macro_f1", at::randn({3, 2}), targets), UsageError);
    EXPECT_NO_THROW(metrics.value(objective->select_metric()));
    EXPECT_TRUE(metric_kind(objective->score_metric()).larger_is_better);
    EXPECT_TRUE(metric_kind(objective->score_metric()).is_share);
    for (const MetricKind& kind : objective->metric_kinds()) {
      // Objectives that share a name share what it says.
      EXPECT_EQ(metric_kind(kind.name).title, kind.title);
      EXPECT_EQ(metric_kind(kind.name).larger_is_better, kind.larger_is_better);
    }
  }
}

TEST(Objective, IsTrainedWithEachMethodOnEachFamily) {
  at::set_num_threads(1);
  const auto alone = dist::make_single_communicator();
  const RunContext context = context_over(*alone);
  for (const Objective* objective : objectives()) {
    if (objective->type() == kSingle) continue;  // test_train_mpi has that matrix
    const Examples examples = random_data(24, 6, 0, objective->type());
    for (const model::Family& family : model::families()) {
      for (const peft::MethodKind& kind : peft::method_kinds()) {
        SCOPED_TRACE(std::string(problem_type_name(objective->type())) + " " + family.model_type + " " + kind.name);
        const std::string spec = peft::small_spec(kind.name);
        const auto classifier =
            classifier_with("families/" + family.model_type, spec, model::Pooling::mean, objective->type());
        TrainOptions options = short_run(spec, 3);
        options.problem_type = objective->type();
        FeatureStore features(options.cache_memory);
        FlatParameters parameters = flatten(*classifier);
        TrainingStep step(*classifier, parameters, options, examples, context, features);
        AdamW optimizer(parameters, options);
        std::vector<double> losses;
        for (int i = 0; i < 3; ++i) {
          losses.push_back(step.run(0).loss);  // the same batch each time
          optimizer.step(1e-3);
        }
        EXPECT_LT(losses[2], losses[0]);
      }
    }
  }
}

TEST(Objective, IsLearnt) {
  at::set_num_threads(1);
  const auto alone = dist::make_single_communicator();
  for (const ProblemType type : {kMulti, kRegression}) {
    const auto& objective = objective_of(type);
    const auto classifier = classifier_with("new_gelu", "full", model::Pooling::cls, type);
    TrainOptions options = short_run("full", 120);
    options.problem_type = type;
    options.select_metric = objective.select_metric();
    FeatureStore features(0);
    const Examples dev = random_data(60, 9, 0, type);
    const auto report =
        train(*classifier, random_data(200, 4, 0, type), dev, options, {}, context_over(*alone), features);
    const std::string metric = objective.select_metric();
    EXPECT_LT(report.dev->metrics.value(metric),
              0.8 * objective.untrained(dev.all_targets(), dev.targets().outputs()).value(metric))
        << problem_type_name(type);
  }
}

}  // namespace
}  // namespace dtrain::train
