#include "study/diagnosis/probes.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

#include "study/diagnosis/logistic_regression.h"
#include "tests/model/reference_case.h"

namespace dtrain::study {
namespace {

// What probe_reference.py made, and what scikit-learn finds in it.
class LinearProbe : public testing::Test {
 protected:
  LinearProbe() : file_(model::reference_directory() / "study" / "probes.safetensors") {}

  ProbeSet set(const std::string& name) const {
    return {file_.tensor(name + ".features"), file_.tensor(name + ".labels")};
  }
  at::Tensor standardised(const std::string& name) const {
    const auto train = file_.tensor("train.features");
    auto deviation = train.std(0, false);
    deviation.masked_fill_(deviation < 1e-12, 1);
    return (file_.tensor(name + ".features") - train.mean(0)) / deviation;
  }
  double log_loss(const LogisticRegression& fit, const std::string& name) const {
    return at::cross_entropy_loss(fit.logits(standardised(name)), file_.tensor(name + ".labels")).item<double>();
  }
  double accuracy(const LogisticRegression& fit, const std::string& name) const {
    return (fit.logits(standardised(name)).argmax(1) == file_.tensor(name + ".labels"))
        .to(at::kDouble)
        .mean()
        .item<double>();
  }

  model::SafetensorsFile file_;
};

TEST_F(LinearProbe, IsAtTheOptimumOfScikitLearn) {
  const auto solutions = file_.tensor("solutions");
  ASSERT_EQ(solutions.size(0), 4);
  for (std::int64_t i = 0; i < solutions.size(0); ++i) {
    const auto at = [&](std::int64_t column) { return solutions[i][column].item<double>(); };
    SCOPED_TRACE(at(0));
    const auto fit = fit_logistic_regression(standardised("train"), file_.tensor("train.labels"), 5, at(0));
    EXPECT_LE(fit.gradient, kGradientTolerance);
    EXPECT_NEAR(fit.objective, at(1), 1e-9);
    EXPECT_NEAR(log_loss(fit, "dev"), at(2), 2e-5);
    EXPECT_EQ(accuracy(fit, "dev"), at(3));
    EXPECT_NEAR(log_loss(fit, "test"), at(4), 2e-5);
    EXPECT_EQ(accuracy(fit, "test"), at(5));
  }
}

TEST_F(LinearProbe, EndsAtTheSamePlaceFromANeighbour) {
  const auto features = standardised("train");
  const auto labels = file_.tensor("train.labels");
  const auto neighbour = fit_logistic_regression(features, labels, 5, 0.01);
  const auto cold = fit_logistic_regression(features, labels, 5, 0.001);
  const auto warm = fit_logistic_regression(features, labels, 5, 0.001, &neighbour);
  EXPECT_NEAR(warm.objective, cold.objective, 1e-9);
  EXPECT_LT(warm.evaluations, cold.evaluations);
}

TEST_F(LinearProbe, ChoosesThePenaltyThatIsBestOnDev) {
  const auto best = file_.tensor("best");
  const Probe probe = fit_probe(set("train"), set("dev"), set("test"));
  EXPECT_NEAR(probe.l2, best[0].item<double>(), 1e-12);
  EXPECT_NEAR(probe.dev_log_loss, best[1].item<double>(), 2e-5);
  EXPECT_EQ(probe.test_accuracy, best[2].item<double>());
  EXPECT_EQ(probe.test_scores.size(), 200U);
  EXPECT_FALSE(probe.at_edge);
}

TEST_F(LinearProbe, DoesNotDependOnTheUnitsOfTheFeatures) {
  const auto scaled = [&](const std::string& name) { return ProbeSet{set(name).features * 1e3 - 5, set(name).labels}; };
  const Probe probe = fit_probe(set("train"), set("dev"), set("test"));
  const Probe other = fit_probe(scaled("train"), scaled("dev"), scaled("test"));
  EXPECT_EQ(other.l2, probe.l2);
  EXPECT_NEAR(other.dev_log_loss, probe.dev_log_loss, 1e-6);
}

// Their biases would have no optimum, and dev's log-loss no value that chooses.
TEST_F(LinearProbe, NeverAnswersAClassThatTrainDoesNotHave) {
  const auto with_class = [&](const std::string& name, std::int64_t label) {
    ProbeSet moved = set(name);
    moved.labels = at::where(moved.labels >= 2, moved.labels + label, moved.labels);  // 2 to 1 + label are nobody's
    return moved;
  };
  const Probe plain = fit_probe(set("train"), set("dev"), set("test"));
  const Probe gapped = fit_probe(with_class("train", 3), with_class("dev", 3), with_class("test", 3));
  EXPECT_EQ(gapped.l2, plain.l2);
  EXPECT_EQ(gapped.test_scores, plain.test_scores);
  ProbeSet test = set("test");
  test.labels = at::full_like(test.labels, 9);
  EXPECT_EQ(fit_probe(set("train"), set("dev"), test).test_accuracy, 0);
  ProbeSet dev = set("dev");
  dev.features = at::cat({dev.features, dev.features.slice(0, 0, 10)});
  dev.labels = at::cat({dev.labels, at::full({10}, 9, at::kLong)});
  EXPECT_NEAR(fit_probe(set("train"), dev, set("test")).dev_log_loss, plain.dev_log_loss, 1e-12);
}

// As the first token's embedding is, but for how a float rounds: noise must not become features.
TEST_F(LinearProbe, OfConstantFeaturesAnswersTheMostFrequentClass) {
  const auto constant = [&](const std::string& name) {
    at::manual_seed(2);
    const auto labels = set(name).labels;
    const auto noise = 1e-8 * at::randn({labels.size(0), 6}, at::kDouble);
    return ProbeSet{at::full({labels.size(0), 6}, 0.1, at::kDouble) * (1 + noise), labels};
  };
  const Probe probe = fit_probe(constant("train"), constant("dev"), constant("test"));
  EXPECT_EQ(probe.test_accuracy, (set("test").labels == 0).to(at::kDouble).mean().item<double>());
}

TEST_F(LinearProbe, RefusesWhatHasNoOptimum) {
  const auto features = standardised("train");
  const auto labels = file_.tensor("train.labels");
  EXPECT_THROW(fit_logistic_regression(features, labels, 5, 0), std::invalid_argument);
  EXPECT_THROW(fit_logistic_regression(features.to(at::kFloat), labels, 5, 1), std::invalid_argument);
  EXPECT_THROW(fit_logistic_regression(features, labels.slice(0, 1), 5, 1), std::invalid_argument);
  ProbeSet empty{features.slice(0, 0, 0), labels.slice(0, 0, 0)};
  EXPECT_THROW(fit_probe(set("train"), empty, set("test")), std::invalid_argument);
}

}  // namespace
}  // namespace dtrain::study
