#include "train/evaluation.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/train/small_run.h"
#include "train/collate.h"

namespace dtrain::train {
namespace {

class Evaluation : public testing::Test {
 protected:
  Evaluation() { at::set_num_threads(1); }
  const std::unique_ptr<dist::Communicator> alone = dist::make_single_communicator();
  RunContext context = context_over(*alone);
  const data::TokenDataset examples = random_data(300, 1);  // about 3,900 tokens: two batches
};

TEST_F(Evaluation, ScoresEachExampleAsItWouldAlone) {
  const auto classifier = classifier_with("new_gelu", "full");
  const auto logits = score(*classifier, examples, context);
  ASSERT_EQ(logits.sizes(), (at::IntArrayRef{300, 4}));
  const at::NoGradGuard no_grad;
  for (std::int64_t id = 0; id < examples.size(); id += 7) {
    model::ForwardContext forward;
    const auto single = classifier->forward(collate(examples, {id}, at::kCPU), forward);
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
      EXPECT_EQ(features.size(), 1U) << method;
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
  const auto metrics = evaluate(*classifier, examples, context);
  EXPECT_EQ(metrics.examples, 300);
  std::int64_t counted = 0;
  for (const auto& per_class : metrics.classes) counted += per_class.support;
  EXPECT_EQ(counted, 300);
}

TEST_F(Evaluation, OfNoExamplesGivesNoRows) {
  const auto classifier = classifier_with("new_gelu", "full");
  EXPECT_EQ(score(*classifier, examples.subset({}), context).sizes(), (at::IntArrayRef{0, 4}));
}

TEST(Collate, PacksExamplesOneAfterTheOther) {
  const auto examples = random_data(5, 2);
  const auto batch = collate(examples, {3, 1}, at::kCPU);
  const std::int64_t first = examples.length(3);
  const std::int64_t second = examples.length(1);
  EXPECT_EQ(batch.examples(), 2);
  EXPECT_EQ(batch.used_tokens(), first + second);
  EXPECT_EQ(batch.max_length, std::max(first, second));
  for (std::int64_t i = 0; i < second; ++i) {
    const auto example = examples.example(1);
    EXPECT_EQ(batch.ids[first + i].item<std::int64_t>(), example.ids[static_cast<std::size_t>(i)]);
    EXPECT_EQ(batch.types[first + i].item<std::int64_t>(), i >= example.second_segment ? 1 : 0);
    EXPECT_EQ(batch.positions[first + i].item<std::int64_t>(), i);
  }
  EXPECT_EQ(collate_labels(examples, {3, 1}, at::kCPU)[0].item<std::int64_t>(), examples.example(3).label);
}

}  // namespace
}  // namespace dtrain::train
