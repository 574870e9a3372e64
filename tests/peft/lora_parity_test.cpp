// Adapters that PEFT has written (peft_reference.py) are loaded here and give PEFT's logits and gradients.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "base/error.h"
#include "peft/trained_model.h"
#include "tests/model/reference_case.h"

namespace dtrain::peft {
namespace {

using model::ForwardContext;
using model::Pooling;
using model::ReferenceCase;

std::filesystem::path peft_directory(const std::string& name) { return model::reference_directory() / "peft" / name; }

TrainedModel load(const std::string& name, const std::optional<Pooling>& pooling = {}) {
  return load_trained(peft_directory(name), model::reference_directory() / "odd_relu", pooling, at::kCPU, Log());
}

void to_double(model::Classifier& classifier) {
  for (model::Parameter* parameter : classifier.parameters()) parameter->set_value(parameter->value().to(at::kDouble));
}

class PeftAdapter : public testing::TestWithParam<std::tuple<const char*, Pooling>> {
 protected:
  const std::string name = std::get<0>(GetParam());
  const Pooling pooling = std::get<1>(GetParam());
  const ReferenceCase reference{"peft/" + name};
};

TEST_P(PeftAdapter, GivesTheLogitsOfPeft) {
  const at::NoGradGuard no_grad;
  ForwardContext context;
  const auto trained = load(name, pooling);
  const auto logits = trained.classifier->forward(reference.batch(), context);
  EXPECT_LT(model::largest_difference(logits, reference.tensor(pooling, "logits32")), 1e-5);
  to_double(*trained.classifier);
  const auto exact = trained.classifier->forward(reference.batch(), context);
  EXPECT_LT(model::largest_difference(exact, reference.tensor(pooling, "logits")), 1e-12);
}

TEST_P(PeftAdapter, GivesTheGradientsOfPeft) {
  for (const auto type : {at::kDouble, at::kFloat}) {
    const auto trained = load(name, pooling);
    if (type == at::kDouble) to_double(*trained.classifier);
    model::bind_gradients(*trained.classifier);
    const double loss = model::backward_of_loss(*trained.classifier, reference.batch(), reference.labels());
    const double tolerance = type == at::kDouble ? 1e-12 : 2e-5;
    EXPECT_NEAR(loss, reference.tensor(pooling, "loss").item<double>(), tolerance);
    for (const auto& [file_name, parameter] : trained_parameters(*trained.classifier, true)) {
      const auto expected = reference.tensor(pooling, "gradient." + file_name);
      const double scale = std::max(1.0, expected.abs().max().item<double>());
      EXPECT_LT(model::largest_difference(parameter->gradient(), expected), tolerance * scale) << file_name;
    }
  }
}

TEST_P(PeftAdapter, TrainsAsManyParametersAsPeft) {
  const auto trained = load(name, pooling);
  std::int64_t count = 0;
  for (const auto& [file_name, parameter] : trained_parameters(*trained.classifier, true)) {
    count += parameter->value().numel();
  }
  const auto expected = model::SafetensorsFile(peft_directory(name) / "reference.safetensors").tensor("trainable");
  EXPECT_EQ(count, expected.item<std::int64_t>());
}

INSTANTIATE_TEST_SUITE_P(
    Adapters, PeftAdapter,
    testing::Values(std::tuple("query_value", Pooling::pooler), std::tuple("query_value", Pooling::cls),
                    std::tuple("query_value", Pooling::mean), std::tuple("all_linear", Pooling::pooler),
                    std::tuple("dense_biases", Pooling::pooler), std::tuple("dense_biases", Pooling::mean)),
    [](const auto& instance) {
      return std::string(std::get<0>(instance.param)) + "_" + model::pooling_name(std::get<1>(instance.param));
    });

TEST(PeftAdapters, PoolAsTransformersDoesUnlessTold) {
  EXPECT_EQ(load("query_value").classifier->pooling(), Pooling::pooler);
  EXPECT_EQ(load("query_value", Pooling::mean).classifier->pooling(), Pooling::mean);
}

std::string refusal(const std::string& name) {
  try {
    load(name);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(PeftAdapters, OfAnotherModelAreRefusedNamingTensorAndShapes) {
  EXPECT_THAT(refusal("another_model"),
              testing::AllOf(testing::HasSubstr("lora_A.weight"), testing::HasSubstr("needs shape [8, 40]"),
                             testing::HasSubstr("found [8, 64]"), testing::HasSubstr("another model?")));
}

TEST(PeftAdapters, OfAnUnsupportedKindAreRefusedNamingTheKey) {
  EXPECT_THAT(refusal("dora"), testing::HasSubstr("use_dora = true is not supported"));
}

TEST(PeftAdapters, WithoutAClassifierAreRefusedSayingWhy) {
  EXPECT_THAT(refusal("headless"), testing::HasSubstr("without its trained classifier would score at random"));
}

}  // namespace
}  // namespace dtrain::peft
