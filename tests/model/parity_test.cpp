// Logits and gradients against transformers, whose numbers hf_reference.py writes just before.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "tests/model/reference_case.h"

namespace dtrain::model {
namespace {

class Transformers : public testing::TestWithParam<std::tuple<const char*, Pooling>> {
 protected:
  const ReferenceCase reference{std::get<0>(GetParam())};
  const Pooling pooling = std::get<1>(GetParam());

  at::Tensor logits(at::ScalarType type) {
    const at::NoGradGuard no_grad;
    ForwardContext context;
    return reference.load(pooling, type)->forward(reference.batch(), context);
  }
};

TEST_P(Transformers, ComputesTheSameLogits) {
  EXPECT_LT(largest_difference(logits(at::kFloat), reference.tensor(pooling, "logits32")), 1e-5);
  EXPECT_LT(largest_difference(logits(at::kDouble), reference.tensor(pooling, "logits")), 1e-12);
}

TEST_P(Transformers, ComputesTheSameGradientOfEveryParameter) {
  for (const auto type : {at::kDouble, at::kFloat}) {
    auto classifier = reference.load(pooling, type);
    for (Parameter* parameter : classifier->parameters()) parameter->set_trainable(true);
    bind_gradients(*classifier);
    const double loss = backward_of_loss(*classifier, reference.batch(), reference.labels());
    const double tolerance = type == at::kDouble ? 1e-12 : 2e-5;
    EXPECT_NEAR(loss, reference.tensor(pooling, "loss").item<double>(), tolerance);
    int compared = 0;
    for (const Parameter* parameter : classifier->parameters()) {
      if (!reference.contains(pooling, "gradient." + parameter->name())) continue;
      const auto expected = reference.tensor(pooling, "gradient." + parameter->name());
      // The gradient of the key's bias is zero in theory, hence a tolerance that is absolute below 1.
      const double scale = std::max(1.0, expected.abs().max().item<double>());
      EXPECT_LT(largest_difference(parameter->gradient(), expected), tolerance * scale) << parameter->name();
      ++compared;
    }
    EXPECT_GE(compared, 5);
    if (reference.directory().filename() != "minilm") {
      EXPECT_EQ(compared, static_cast<int>(classifier->parameters().size()));
    }
  }
}

std::string case_name(const testing::TestParamInfo<Transformers::ParamType>& instance) {
  return std::string(std::get<0>(instance.param)) + "_" + pooling_name(std::get<1>(instance.param));
}

INSTANTIATE_TEST_SUITE_P(Bert, Transformers,
                         testing::Combine(testing::Values("minilm", "odd_relu", "one_type", "new_gelu"),
                                          testing::Values(Pooling::pooler, Pooling::cls, Pooling::mean)),
                         case_name);

INSTANTIATE_TEST_SUITE_P(WithoutPooler, Transformers,
                         testing::Combine(testing::Values("distilbert", "distilbert_relu", "roberta", "roberta_gelu"),
                                          testing::Values(Pooling::cls, Pooling::mean)),
                         case_name);

TEST(BrainFloat, LogitsAreAsNearToFloatAsThoseOfTransformers) {
  const ReferenceCase reference("minilm");
  const auto expected = reference.tensor(Pooling::mean, "logits");
  const double peer = largest_difference(reference.tensor(Pooling::mean, "logits16"), expected);
  const at::NoGradGuard no_grad;
  ForwardContext context;
  context.matmul_type = at::kBFloat16;
  const auto logits = reference.load(Pooling::mean, at::kFloat)->forward(reference.batch(), context);
  const double own = largest_difference(logits, expected);
  // Sums and norms are in float here, as under transformers' autocast.
  EXPECT_LT(own, 2 * peer);
  EXPECT_GT(own, 1e-4);
}

TEST(Classifier, RunInPartsGivesTheBytesOfTheWhole) {
  const ReferenceCase reference("new_gelu");
  const at::NoGradGuard no_grad;
  for (const Pooling pooling : {Pooling::pooler, Pooling::cls, Pooling::mean}) {
    const auto classifier = reference.load(pooling, at::kFloat);
    ForwardContext context;
    const auto whole = classifier->forward(reference.batch(), context);
    for (int stage = 1; stage <= classifier->head_stage(); ++stage) {
      const auto features = classifier->run_prefix(reference.batch(), stage, at::kFloat);
      EXPECT_TRUE(at::equal(classifier->forward_from(stage, features, reference.batch(), context), whole)) << stage;
    }
  }
}

TEST(Classifier, ReadsNothingFromTokensThatBelongToNoExample) {
  const ReferenceCase reference("odd_relu");
  auto batch = reference.batch();
  for (auto* tensor : {&batch.ids, &batch.types, &batch.positions}) {
    *tensor = at::cat({*tensor, at::zeros({7}, tensor->options())});
  }
  for (const Pooling pooling : {Pooling::pooler, Pooling::mean}) {
    const auto classifier = reference.load(pooling, at::kDouble);
    for (Parameter* parameter : classifier->parameters()) parameter->set_trainable(true);
    bind_gradients(*classifier);
    const double loss = backward_of_loss(*classifier, batch, reference.labels());
    EXPECT_NEAR(loss, reference.tensor(pooling, "loss").item<double>(), 1e-12);
    for (const Parameter* parameter : classifier->parameters()) {
      const auto expected = reference.tensor(pooling, "gradient." + parameter->name());
      EXPECT_LT(largest_difference(parameter->gradient(), expected), 1e-12) << parameter->name();
    }
  }
}

TEST(Classifier, ComputesNoGradientBelowTheFirstTrainableStage) {
  const ReferenceCase reference("odd_relu");
  const auto classifier = reference.load(Pooling::mean, at::kDouble);
  const int stage = 2;
  for (Parameter* parameter : classifier->stage_parameters(stage)) parameter->set_trainable(true);
  EXPECT_EQ(classifier->first_trainable_stage(), stage);
  bind_gradients(*classifier);
  backward_of_loss(*classifier, reference.batch(), reference.labels());
  for (const Parameter* parameter : classifier->parameters()) {
    EXPECT_EQ(parameter->gradient().defined(), parameter->trainable()) << parameter->name();
    if (!parameter->trainable()) continue;
    const auto expected = reference.tensor(Pooling::mean, "gradient." + parameter->name());
    EXPECT_LT(largest_difference(parameter->gradient(), expected), 1e-12) << parameter->name();
  }
}

}  // namespace
}  // namespace dtrain::model
