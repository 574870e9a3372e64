#include "train/metrics.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/train/small_run.h"

namespace dtrain::train {
namespace {

TEST(Metrics, AreThoseOfScikitLearn) {
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(reference_directory() / "train" / "metrics")) {
    SCOPED_TRACE(entry.path().stem());
    const model::SafetensorsFile expected(entry.path());
    const auto metrics = compute_metrics(expected.tensor("logits"), expected.tensor("labels"));
    EXPECT_EQ(metrics.examples, expected.tensor("labels").size(0));
    for (const auto& name : metric_names()) {
      EXPECT_NEAR(metrics.value(name), expected.tensor(name).item<double>(), 1e-12) << name;
    }
    for (std::size_t c = 0; c < metrics.classes.size(); ++c) {
      const auto at_class = [&](const char* name) { return expected.tensor(name)[static_cast<std::int64_t>(c)]; };
      EXPECT_NEAR(metrics.classes[c].precision, at_class("precision").item<double>(), 1e-12);
      EXPECT_NEAR(metrics.classes[c].recall, at_class("recall").item<double>(), 1e-12);
      EXPECT_NEAR(metrics.classes[c].f1, at_class("f1").item<double>(), 1e-12);
      EXPECT_EQ(metrics.classes[c].support, at_class("support").item<std::int64_t>());
      for (std::size_t p = 0; p < metrics.classes.size(); ++p) {
        EXPECT_EQ(metrics.confusion[c][p], at_class("confusion")[static_cast<std::int64_t>(p)].item<std::int64_t>());
      }
    }
    ++cases;
  }
  EXPECT_EQ(cases, 9);
}

TEST(Metrics, DoNotDependOnTheOrderOfTheExamples) {
  const model::SafetensorsFile file(reference_directory() / "train" / "metrics" / "forty_five_classes.safetensors");
  const auto logits = file.tensor("logits");
  const auto labels = file.tensor("labels");
  const auto order = at::randperm(labels.size(0), at::kLong);
  const auto metrics = compute_metrics(logits, labels);
  const auto shuffled = compute_metrics(logits.index_select(0, order), labels.index_select(0, order));
  EXPECT_EQ(shuffled.macro_f1, metrics.macro_f1);
  EXPECT_NEAR(shuffled.log_loss, metrics.log_loss, 1e-12);
}

TEST(MetricNames, AreListedWhenOneIsUnknown) {
  EXPECT_THAT([] { Metrics().value("acuracy"); },
              testing::ThrowsMessage<UsageError>(testing::AllOf(testing::HasSubstr("did you mean 'accuracy'?"),
                                                                testing::HasSubstr("calibration_error"))));
  EXPECT_TRUE(larger_is_better("macro_f1"));
  EXPECT_FALSE(larger_is_better("log_loss"));
}

}  // namespace
}  // namespace dtrain::train
