#include "train/metrics.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "tests/train/small_run.h"
#include "train/objective.h"

namespace dtrain::train {
namespace {

const Objective& classes() { return objective_of(ProblemType::single_label_classification); }

TEST(Metrics, OfClassesAreThoseOfScikitLearn) {
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(reference_directory() / "train" / "metrics")) {
    SCOPED_TRACE(entry.path().stem());
    const model::SafetensorsFile expected(entry.path());
    const auto logits = expected.tensor("logits");
    const auto labels = expected.tensor("labels");
    const auto metrics = classes().metrics(logits, labels);
    EXPECT_EQ(metrics.examples, labels.size(0));
    EXPECT_EQ(metrics.values.size(), classes().metric_kinds().size());
    for (const auto& [name, value] : metrics.values) {
      EXPECT_NEAR(value, expected.tensor(name).item<double>(), 1e-12) << name;
    }
    EXPECT_NEAR(classes().example_scores(logits, labels).mean().item<double>(), metrics.value("accuracy"), 1e-12);
    EXPECT_NEAR(classes().example_values("log_loss", logits, labels).mean().item<double>(), metrics.value("log_loss"),
                1e-12);
    const auto predicted = classes().predicted_classes(logits);
    ASSERT_EQ(predicted.size(), static_cast<std::size_t>(labels.size(0)));
    double right = 0;
    for (std::int64_t i = 0; i < labels.size(0); ++i)
      right += predicted[static_cast<std::size_t>(i)] == labels[i].item<std::int64_t>() ? 1 : 0;
    EXPECT_NEAR(right / static_cast<double>(labels.size(0)), metrics.value("accuracy"), 1e-12);
    std::vector<std::string> names;
    for (std::int64_t c = 0; c < logits.size(1); ++c) names.push_back(std::to_string(c));
    const auto details = classes().details(logits, labels, names);
    for (std::int64_t c = 0; c < logits.size(1); ++c) {
      const auto& found = details.at("classes").at(names[static_cast<std::size_t>(c)]);
      for (const char* name : {"precision", "recall", "f1", "support"})
        EXPECT_NEAR(found.at(name).get<double>(), expected.tensor(name)[c].item<double>(), 1e-12) << name;
      for (std::int64_t p = 0; p < logits.size(1); ++p) {
        EXPECT_EQ(details.at("confusion")[static_cast<std::size_t>(c)][static_cast<std::size_t>(p)],
                  expected.tensor("confusion")[c][p].item<std::int64_t>());
      }
    }
    ++cases;
  }
  EXPECT_EQ(cases, 9);
}

TEST(Metrics, OfManyClassesNameTheConfusionsThatOccurAlone) {
  std::vector<std::string> names;
  for (int c = 0; c < 501; ++c) names.push_back(std::to_string(c));
  auto logits = at::zeros({4, 501});
  for (const auto& [example, predicted] : {std::pair(0, 7), {1, 500}, {2, 7}, {3, 7}}) logits[example][predicted] = 1;
  const auto labels = at::tensor({3, 500, 3, 7}, at::kLong);
  const auto details = classes().details(logits, labels, names);
  EXPECT_FALSE(details.contains("confusion"));
  EXPECT_EQ(details.at("confusion_pairs").dump(), "[[3,7,2],[7,7,1],[500,500,1]]");
  names.pop_back();
  const auto fewer = classes().details(logits.slice(1, 0, 500), at::tensor({3, 499, 3, 7}, at::kLong), names);
  EXPECT_EQ(fewer.at("confusion").size(), 500U);
  EXPECT_FALSE(fewer.contains("confusion_pairs"));
}

TEST(Metrics, DoNotDependOnTheOrderOfTheExamples) {
  const model::SafetensorsFile file(reference_directory() / "train" / "metrics" / "forty_five_classes.safetensors");
  const auto logits = file.tensor("logits");
  const auto labels = file.tensor("labels");
  const auto order = at::randperm(labels.size(0), at::kLong);
  const auto metrics = classes().metrics(logits, labels);
  const auto shuffled = classes().metrics(logits.index_select(0, order), labels.index_select(0, order));
  EXPECT_EQ(shuffled.value("macro_f1"), metrics.value("macro_f1"));
  EXPECT_NEAR(shuffled.value("log_loss"), metrics.value("log_loss"), 1e-12);
}

TEST(Metrics, ThatAreNotDefinedAreNullInJsonAndADashInTables) {
  const Metrics metrics{3, {{"pearson", std::numeric_limits<double>::quiet_NaN()}, {"mse", 0.5}}};
  EXPECT_EQ(metrics_json(metrics).dump(), R"({"examples":3,"mse":0.5,"pearson":null})");
  EXPECT_THAT(metrics_table({{"test", metrics}}), testing::ContainsRegex("test +3 +- +0.5000"));
}

TEST(MetricNames, AreListedWhenOneIsUnknown) {
  const auto metrics = classes().metrics(at::zeros({1, 2}), at::zeros({1}, at::kLong));
  const auto listed =
      testing::AllOf(testing::HasSubstr("did you mean 'accuracy'?"), testing::HasSubstr("calibration_error"));
  EXPECT_THAT([&] { metrics.value("acuracy"); }, testing::ThrowsMessage<UsageError>(listed));
  EXPECT_THAT([] { metric_kind("acuracy"); }, testing::ThrowsMessage<UsageError>(listed));
  EXPECT_TRUE(larger_is_better("macro_f1"));
  EXPECT_FALSE(larger_is_better("log_loss"));
  EXPECT_EQ(merit("macro_f1", 0.5), 0.5);
  EXPECT_EQ(merit("log_loss", 0.5), -0.5);
}

}  // namespace
}  // namespace dtrain::train
