#include "train/evaluation.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "tests/train/small_run.h"

namespace dtrain::train {
namespace {

class Evaluation : public testing::Test {
 protected:
  Evaluation() { at::set_num_threads(1); }
  const std::unique_ptr<dist::Communicator> alone = dist::make_single_communicator();
  RunContext context = context_over(*alone);
  const Examples examples = random_data(300, 1);  // about 3,900 tokens: two batches
};

TEST_F(Evaluation, ScoresEachExampleAsItWouldAlone) {
  const auto classifier = classifier_with("new_gelu", "full");
  const auto logits = score(*classifier, examples, context);
  ASSERT_EQ(logits.sizes(), (at::IntArrayRef{300, 4}));
  const at::NoGradGuard no_grad;
  for (std::int64_t id = 0; id < examples.size(); id += 7) {
    model::ForwardContext forward;
    const auto single = classifier->forward(examples.collate({id}, at::kCPU), forward);
    EXPECT_LT((single[0] - logits[id]).abs().max().item<double>(), 1e-5) << id;
  }
}

TEST_F(Evaluation, GivesTheSameBytesWithCachedFeatures) {
  // Whatever leaves the lower layers alone.
  for (const char* method : {"head", "layers:k=1", "layers:k=2", "lora:layers_to_transform=2:init_lora_weights=false",
                             "loha:layers_to_transform=1+2:init_weights=false", "pfeiffer:leave_out=0+1"}) {
    for (const auto pooling : {model::Pooling::pooler, model::Pooling::mean}) {
      const auto classifier = classifier_with("new_gelu", method, pooling);
      FeatureStore features(1 << 24);
      EXPECT_TRUE(at::equal(score(*classifier, examples, context, &features), score(*classifier, examples, context)))
          << method;
      EXPECT_EQ(features.made(), 1) << method;
      // Again, from what is kept now.
      EXPECT_TRUE(at::equal(score(*classifier, examples, context, &features), score(*classifier, examples, context)))
          << method;
    }
  }
}

TEST_F(Evaluation, ComputesAgainWhatDoesNotFitTheCacheAndSaysSo) {
  std::vector<std::string> warnings;
  context.log.warning = [&](std::string_view text) { warnings.emplace_back(text); };
  const auto classifier = classifier_with("new_gelu", "head");
  FeatureStore features(200 * 64 * 4);  // 200 examples' features, in bytes
  EXPECT_TRUE(at::equal(score(*classifier, examples, context, &features), score(*classifier, examples, context)));
  ASSERT_EQ(warnings.size(), 1U);
  // One of the two batches fits.
  EXPECT_THAT(warnings[0], testing::AllOf(testing::ContainsRegex("of [12][0-9][0-9] of 300 examples does not fit"),
                                          testing::HasSubstr("--cache-memory (50.0 KiB a rank)")));
}

TEST_F(Evaluation, CountsEveryExampleOnce) {
  const auto classifier = classifier_with("new_gelu", "full");
  const auto& objective = objective_of(ProblemType::single_label_classification);
  const auto evaluation = evaluate(*classifier, examples, objective, context);
  EXPECT_EQ(evaluation.metrics.examples, 300);
  EXPECT_EQ(evaluation.scores.size(), 300U);
  const auto& losses = evaluation.values.at("log_loss");
  ASSERT_EQ(losses.size(), 300U);
  EXPECT_NEAR(std::accumulate(losses.begin(), losses.end(), 0.0) / 300, evaluation.metrics.value("log_loss"), 1e-6);
  const auto details = objective.details(evaluation.logits, examples.all_targets(), {"a", "b", "c", "d"});
  std::int64_t counted = 0;
  for (const auto& per_class : details.at("classes")) counted += per_class.at("support").get<std::int64_t>();
  EXPECT_EQ(counted, 300);
}

TEST_F(Evaluation, OfNoExamplesGivesNoRows) {
  const auto classifier = classifier_with("new_gelu", "full");
  EXPECT_EQ(score(*classifier, examples.subset({}), context).sizes(), (at::IntArrayRef{0, 4}));
}

TEST(TextExamples, ArePackedOneAfterTheOther) {
  const auto examples = random_data(5, 2);
  const auto batch = examples.collate({3, 1}, at::kCPU);
  const std::int64_t first = examples.length(3);
  const std::int64_t second = examples.length(1);
  EXPECT_EQ(batch.examples(), 2);
  EXPECT_EQ(batch.used_tokens(), first + second);
  EXPECT_EQ(batch.tokens() % model::kTokenMultiple, 0);
  EXPECT_EQ(batch.max_length, std::max(first, second));
  EXPECT_EQ(batch.ids[0].item<std::int64_t>(), 1 + examples.targets().class_of(3));
  for (const std::int64_t begin : {std::int64_t{0}, first}) {
    const std::int64_t length = begin == 0 ? first : second;
    for (std::int64_t i = 0; i < length; ++i) {
      EXPECT_EQ(batch.types[begin + i].item<std::int64_t>(), 2 * i >= length ? 1 : 0);
      EXPECT_EQ(batch.positions[begin + i].item<std::int64_t>(), i);
    }
  }
  EXPECT_EQ(examples.collate_targets({3, 1}, at::kCPU)[0].item<std::int64_t>(), examples.targets().class_of(3));
}

TEST(Examples, SubsetsAreViewsThatCompose) {
  const auto examples = random_data(10, 2);
  const auto part = examples.subset({7, 2, 2}).subset({2, 0});
  ASSERT_EQ(part.size(), 2);
  EXPECT_EQ(part.length(0), examples.length(2));
  EXPECT_EQ(part.targets().class_of(1), examples.targets().class_of(7));
  EXPECT_TRUE(at::equal(part.collate({1}, at::kCPU).ids, examples.collate({7}, at::kCPU).ids));
  EXPECT_EQ(part.digest(), examples.subset({2, 7}).digest());
  EXPECT_NE(part.digest(), examples.subset({7, 2}).digest());
}

TEST(Examples, WithOtherTargetsHaveAnotherDigest) {
  const auto type = ProblemType::multi_label_classification;
  EXPECT_EQ(random_data(10, 2).digest(), random_data(10, 2).digest());
  EXPECT_NE(random_data(10, 2).digest(), random_data(10, 2, 0, type).digest());
}

TEST(Examples, HaveTargetsAsTensorsOfTheirKind) {
  const auto sets = random_data(10, 2, 0, ProblemType::multi_label_classification);
  const auto rows = sets.collate_targets({4, 9}, at::kCPU);
  EXPECT_EQ(rows.sizes(), (at::IntArrayRef{2, 4}));
  for (std::int32_t label = 0; label < 4; ++label) {
    const auto labels = sets.targets().labels_of(4);
    EXPECT_EQ(rows[0][label].item<float>(), std::count(labels.begin(), labels.end(), label));
  }
  const auto numbers = random_data(10, 2, 0, ProblemType::regression);
  EXPECT_EQ(numbers.all_targets().sizes(), (at::IntArrayRef{10, 1}));
  EXPECT_EQ(numbers.all_targets()[6][0].item<double>(), numbers.targets().numbers_of(6)[0]);
}

}  // namespace
}  // namespace dtrain::train
