#include "study/diagnosis/diagnosis.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <optional>
#include <string>

#include "base/error.h"
#include "study/diagnosis/diagnose.h"
#include "study/page/diagnosis_figures.h"
#include "study/states/stage_features.h"
#include "tests/study/diagnosis_case.h"
#include "tests/study/study_case.h"
#include "tests/train/small_run.h"

namespace dtrain::study {
namespace {

using model::Pooling;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(StageFeatures, AreWhatTheStagesPassOn) {
  const auto classifier = train::classifier_with("no_dropout", "head");
  const auto communicator = dist::make_single_communicator();
  const auto context = train::context_over(*communicator);
  const auto examples = train::random_data(150, 3);
  const auto poolings = known_poolings(*classifier);
  ASSERT_THAT(poolings, ElementsAre(Pooling::cls, Pooling::mean, Pooling::pooler));
  const StageFeatures features(*classifier, examples, poolings, "test", context);
  ASSERT_EQ(features.stages(), classifier->head_stage());
  std::vector<std::int64_t> all;
  for (std::int64_t i = 0; i < examples.size(); ++i) all.push_back(i);
  const auto batch = examples.collate(all, context.device);
  for (int stage = 0; stage < features.stages(); ++stage) {
    SCOPED_TRACE(stage);
    auto hidden = classifier->run_prefix(batch, stage + 1, at::kFloat);
    const auto expect = [&](Pooling pooling, const at::Tensor& expected) {
      EXPECT_LT(model::largest_difference(features.gather(stage, pooling, *communicator), expected), 1e-5)
          << pooling_name(pooling);
    };
    if (stage + 1 == features.stages()) {  // the head's input is pooled already
      expect(Pooling::mean, hidden);
      continue;
    }
    const auto first = model::first_tokens(hidden, batch);
    expect(Pooling::mean, model::mean_tokens(hidden, batch));
    expect(Pooling::cls, first);
    expect(Pooling::pooler,
           at::tanh(at::linear(first, classifier->dense.weight.value(), classifier->dense.bias.value())));
  }
}

TEST(StageFeatures, HaveNoPoolerWhereTheModelHasNone) {
  const auto classifier = train::classifier_with("roberta", "head", Pooling::mean);
  EXPECT_THAT(known_poolings(*classifier), ElementsAre(Pooling::cls, Pooling::mean));
}

TEST(DiagnosisMethods, AreAListWithRanges) {
  const auto texts = [](const std::string& text, std::int64_t layers) {
    std::vector<std::string> names;
    for (const auto& tried : diagnosis_methods(text, layers))
      names.push_back((tried.if_time ? "if time: " : "") + tried.method.text());
    return names;
  };
  EXPECT_THAT(texts("auto", 6),
              ElementsAre("layers:k=1", "layers:k=2", "if time: layers:k=3", "layers:k=4", "if time: layers:k=5",
                          "if time: layers:k=6", "lora", "if time: bitfit", "if time: pfeiffer"));
  EXPECT_THAT(texts("auto", 12), ElementsAre("layers:k=1", "layers:k=2", "layers:k=4", "layers:k=8", "lora",
                                             "if time: bitfit", "if time: pfeiffer"));
  EXPECT_THAT(texts("layers:k=2..4,bitfit", 6), ElementsAre("layers:k=2", "layers:k=3", "layers:k=4", "bitfit"));
  EXPECT_THAT(texts("lora:r=1..2:lora_alpha=4", 6), ElementsAre("lora:lora_alpha=4:r=1", "lora:lora_alpha=4:r=2"));
  for (const auto& [text, word] : {std::pair("layers:k=4..2", "that rise"), std::pair("layers:k=a..2", "whole numbers"),
                                   std::pair("full", "is in every diagnosis"), std::pair("lora,lora", "named twice"),
                                   std::pair("layers:k=1..2,layers:k=2", "named twice"), std::pair("lara", "lora")}) {
    EXPECT_THAT([&] { texts(text, 6); }, testing::ThrowsMessage<UsageError>(HasSubstr(word))) << text;
  }
}

// Coverage of the interval of a difference of two shares on the same examples.
TEST(DifferenceEstimate, OfOneSeedCoversTheTrueDifference) {
  SplitMix64 random(5);
  for (const auto& [up, down, examples] : {std::tuple(0.05, 0.03, 2000), std::tuple(0.3, 0.1, 200),
                                           std::tuple(0.02, 0.0, 300), std::tuple(0.01, 0.01, 1000)}) {
    int covered = 0;
    const int studies = 2000;
    for (int study = 0; study < studies; ++study) {
      SeedScores before(1), after(1);
      for (int i = 0; i < examples; ++i) {
        const double chance = uniform(random);
        before[0].push_back(chance < up ? 0 : chance < up + down ? 1 : chance < 0.6 ? 1 : 0);
        after[0].push_back(chance < up ? 1 : chance < up + down ? 0 : chance < 0.6 ? 1 : 0);
      }
      const ShareEstimate estimate = difference_estimate(before, after);
      if (estimate.interval.low <= up - down && up - down <= estimate.interval.high) ++covered;
    }
    EXPECT_GT(covered, 0.935 * studies) << up << " " << down;
    EXPECT_LT(covered, 0.995 * studies) << up << " " << down;
  }
}

TEST(DifferenceEstimate, OfSeveralSeedsIsThatOfTheStudy) {
  const SeedScores before = {{1, 0, 0, 1, 0, 0}};
  const SeedScores after = {{1, 1, 0, 1, 1, 0}, {1, 1, 0, 0, 1, 1}, {1, 0, 1, 1, 1, 0}};
  const ShareEstimate estimate = difference_estimate(before, after);
  const auto expected = paired_difference({{0, 1, 0, 0, 1, 0}, {0, 1, 0, -1, 1, 1}, {0, 0, 1, 0, 1, 0}});
  EXPECT_EQ(estimate.value, expected.mean);
  EXPECT_EQ(estimate.interval.low, expected.interval(0.95).low);
  EXPECT_NEAR(share_estimate(after).value, 12.0 / 18, 1e-12);
}

// On a task that the first token decides.
DiagnosisMaterial small_material() {
  DiagnosisMaterial material;
  material.classifier = [](Pooling pooling, std::uint64_t seed) {
    return model::load_classifier({.directory = model::reference_directory() / "no_dropout",
                                   .pooling = pooling,
                                   .classes = 4,
                                   .head_seed = seed,
                                   .device = model::test_device()});
  };
  material.train = train::random_data(80, 1);
  material.dev = train::random_data(40, 2);
  material.test = train::random_data(60, 3);
  material.training = train::short_run("full", 6);
  return material;
}

// A diagnosis of a BERT of three layers.
Diagnosis small_diagnosis(std::int64_t seeds, const std::vector<std::string>& methods = {"bitfit"},
                          const std::map<std::string, double>& known_rates = {},
                          std::optional<double> seconds = std::nullopt) {
  const DiagnosisMaterial material = small_material();
  DiagnosisPlan plan;
  for (const auto& method : methods) plan.methods.push_back({peft::parse_method_spec(method)});
  plan.seeds = seeds;
  plan.known_rates = known_rates;
  plan.seconds = seconds;
  const auto communicator = dist::make_single_communicator();
  Diagnosis diagnosis = diagnose(plan, material, train::context_over(*communicator));
  diagnosis.model = "tiny";
  diagnosis.task = "toy";
  return diagnosis;
}

TEST(Diagnosis, CutsTheGapIntoWhatEachChoiceCosts) {
  const Diagnosis diagnosis = small_diagnosis(1);
  EXPECT_EQ(diagnosis.probes.size(), 12U);  // four stages, three poolings
  std::vector<std::string> kinds;
  for (const auto& row : diagnosis.rows) kinds.push_back(row.kind);
  EXPECT_THAT(kinds, ElementsAre("asked", "rate", "optimum", "pooling", "best_probe", "head", "full", "method"));
  EXPECT_EQ(diagnosis.row("asked").pooling, Pooling::pooler);
  EXPECT_EQ(diagnosis.row("asked").learning_rate, 5e-5);
  EXPECT_EQ(diagnosis.row("pooling").pooling, Pooling::mean);
  double sum = 0;
  for (const auto& step : diagnosis.steps) {
    sum += step.gain.value;
    EXPECT_LE(step.gain.interval.low, step.gain.value);
    EXPECT_GE(step.gain.interval.high, step.gain.value);
  }
  EXPECT_EQ(diagnosis.steps.size(), 5U);
  EXPECT_NEAR(sum, diagnosis.gap.value, 1e-12);
  EXPECT_NEAR(diagnosis.gap.value, diagnosis.row("full").accuracy.value - diagnosis.row("asked").accuracy.value, 1e-12);
  for (const auto& probe : diagnosis.probes)
    EXPECT_GE(probe.probe.dev_log_loss, diagnosis.best_probe().probe.dev_log_loss);
}

TEST(Diagnosis, HasNoProbeOfAPoolerThatTheCheckpointLacks) {
  DiagnosisMaterial material = small_material();
  material.classifier = [load = material.classifier](Pooling pooling, std::uint64_t seed) {
    auto classifier = load(pooling, seed);
    classifier->dense_is_head = true;
    return classifier;
  };
  material.pooling = Pooling::pooler;
  DiagnosisPlan plan;
  plan.seeds = 1;
  const auto communicator = dist::make_single_communicator();
  const Diagnosis diagnosis = diagnose(plan, material, train::context_over(*communicator));
  std::vector<std::string> kinds;
  for (const auto& row : diagnosis.rows) kinds.push_back(row.kind);
  EXPECT_THAT(kinds, ElementsAre("asked", "rate", "optimum", "best_probe", "head", "full"));
  EXPECT_EQ(diagnosis.row("asked").pooling, Pooling::cls);
  EXPECT_EQ(diagnosis.row("head").pooling, Pooling::pooler);
  EXPECT_THAT(diagnosis_words(diagnosis), testing::Each(testing::Not(HasSubstr("the pooling ("))));
  EXPECT_EQ(diagnosis.steps.size(), 4U);
}

TEST(Diagnosis, IsJsonAndWordsAndAFigure) {
  const Diagnosis diagnosis = small_diagnosis(2);
  const auto document = diagnosis_json(diagnosis);
  EXPECT_EQ(document.at("schema"), 1);
  EXPECT_EQ(document.at("seeds"), 2);
  EXPECT_EQ(document.at("probes").size(), 12U);
  EXPECT_EQ(document.at("rows").size(), diagnosis.rows.size());
  EXPECT_EQ(document.at("rows")[2].at("method"), "probe");
  EXPECT_TRUE(document.at("rows")[2].at("learning_rate").is_null());
  EXPECT_EQ(nlohmann::json::parse(document.dump()), document);
  const auto words = diagnosis_words(diagnosis);
  EXPECT_GE(words.size(), 3U);
  EXPECT_LE(words.size(), 5U);
  EXPECT_THAT(words.front(), HasSubstr("learning rate 5e-5"));
  EXPECT_THAT(words.back(), HasSubstr("2 seeds"));
  EXPECT_EQ(diagnosis_table(diagnosis).rows.size(), diagnosis.rows.size());
  const auto table = probe_table(diagnosis);
  EXPECT_THAT(table.header, ElementsAre("layer", "cls", "mean", "pooler"));
  EXPECT_EQ(table.rows.size(), 4U);
  const auto figure = page::probe_svg(diagnosis);
  EXPECT_THAT(figure, HasSubstr("<title id=\"diagnose-title\">Test accuracy of linear probes by layer</title>"));
  EXPECT_THAT(figure, testing::EndsWith("</svg>\n"));
}

TEST(Diagnosis, SaysWhatCostsWhat) {
  const Diagnosis diagnosis = known_diagnosis();
  const auto words = diagnosis_words(diagnosis);
  ASSERT_EQ(words.size(), 4U);
  EXPECT_THAT(words[0], HasSubstr("a gap of 50.0 points"));
  EXPECT_THAT(words[1],
              testing::ContainsRegex(
                  "Of the gap, 25.0 points .* the learning rate of the head \\(0.03 instead of 5e-5\\), 15.0 "
                  "points .* the pooling \\(mean instead of pooler\\) and 12.0 points .* what no linear head"));
  EXPECT_THAT(words[1], HasSubstr("not told apart from nothing: a head that its training leaves short"));
  EXPECT_THAT(words[1], HasSubstr("better as it was: the layer"));
  EXPECT_THAT(words[2], HasSubstr("lora 75 %"));
}

TEST(Diagnosis, SpeaksOfNoGapThatIsNotShown) {
  Diagnosis diagnosis = known_diagnosis();
  for (DiagnosisRow& row : diagnosis.rows) {
    if (row.kind == "full") row.scores = right_on(200);
  }
  conclude(diagnosis);
  const auto words = diagnosis_words(diagnosis);
  EXPECT_THAT(words.at(0), HasSubstr("no gap is shown (0.0 points"));
  EXPECT_THAT(words.at(1), testing::StartsWith("Of this, 25.0 points"));
}

TEST(Diagnosis, SaysWhereLearningRatesAreFrom) {
  const auto from = [](const Diagnosis& diagnosis) {
    std::vector<std::string> sources;
    for (const auto& row : diagnosis.rows) sources.push_back(row.rate_from);
    return sources;
  };
  const Diagnosis told = small_diagnosis(1, {"bitfit"}, {{"full", 2e-3}});
  EXPECT_THAT(from(told), ElementsAre("asked", "search", "", "", "", "search", "study", "search"));
  EXPECT_EQ(told.row("full").learning_rate, 2e-3);
  EXPECT_THAT(diagnosis_table(told).rows.at(6).at(3), "0.002 (the study's)");
  const Diagnosis hurried = small_diagnosis(1, {"bitfit"}, {}, 0.0);
  EXPECT_THAT(from(hurried), ElementsAre("asked", "search", "", "", "", "search", "default", "default"));
  EXPECT_EQ(hurried.row("full").learning_rate, 1.5e-4);
  EXPECT_THAT(diagnosis_table(hurried).rows.at(6).at(3), "0.00015 (not searched)");
  EXPECT_THAT(diagnosis_words(hurried), testing::Contains(HasSubstr("The learning rates of full and bitfit were not")));
}

TEST(Diagnosis, SaysByHowMuchAMethodStaysBelowTheBestLinearHead) {
  Diagnosis diagnosis = known_diagnosis();
  DiagnosisRow row = diagnosis.row("full");
  row.kind = "method";
  row.method = "layers:k=1";
  row.scores = right_on(370);
  diagnosis.rows.push_back(row);
  conclude(diagnosis);
  EXPECT_THAT(
      diagnosis_words(diagnosis),
      testing::Contains("Of the points that no linear head reaches, training more has back: lora 75 %. Below the "
                        "best linear head of all is layers:k=1 (by 21.0 points)."));
}

TEST(Diagnosis, KeepsAMethodThatDoesNotTrainAsARow) {
  Diagnosis diagnosis = small_diagnosis(1, {});
  DiagnosisRow failed;
  failed.kind = "method";
  failed.method = "lora";
  failed.failure = "the loss is not finite";
  diagnosis.rows.push_back(failed);
  conclude(diagnosis);
  EXPECT_EQ(diagnosis_json(diagnosis).at("rows").back().at("failure"), "the loss is not finite");
  EXPECT_FALSE(diagnosis_json(diagnosis).at("rows").back().contains("test_accuracy"));
  EXPECT_THAT(diagnosis_words(diagnosis)[2], HasSubstr("lora failed"));
}

}  // namespace
}  // namespace dtrain::study
