// Adapters that PEFT has written (peft_cases.py) are loaded here and give PEFT's logits and gradients.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "peft/formats/trained_model.h"
#include "peft/registry.h"
#include "tests/model/reference_case.h"
#include "tests/peft/peft_start.h"
#include "tests/peft/reference_adapters.h"

namespace dtrain::peft {
namespace {

using model::ForwardContext;
using model::Pooling;
using model::ReferenceCase;

std::filesystem::path peft_directory(const std::string& name) { return model::reference_directory() / "peft" / name; }

TrainedModel load_peft(const std::filesystem::path& directory, const std::optional<Pooling>& pooling = {},
                       const std::optional<std::filesystem::path>& base = {}) {
  return load_trained(directory, base, pooling, model::test_device(), Log());
}

class PeftAdapter : public testing::TestWithParam<ReferenceAdapter> {
 protected:
  const std::string name = GetParam().name;
  const Pooling pooling = GetParam().pooling;
  const ReferenceCase reference{"peft/" + name};
  // Inside of some methods PEFT computes in float what it is given in double.
  const bool exact =
      model::SafetensorsFile(peft_directory(name) / "reference.safetensors").tensor("exact").item<std::int64_t>() != 0;
  const double double_tolerance = exact ? 1e-12 : 1e-5;

  PeftStart start() const {
    const AdapterConfig config(peft_directory(name) / "adapter_config.json");
    return read_peft_start(peft_directory(name), config.value<std::string>("base_model_name_or_path", ""), pooling);
  }
};

TEST_P(PeftAdapter, GivesTheLogitsOfPeft) {
  const at::NoGradGuard no_grad;
  ForwardContext context;
  const auto trained = load_peft(peft_directory(name), pooling);
  const auto logits = trained.classifier->forward(reference.batch(), context);
  EXPECT_LT(model::largest_difference(logits, reference.tensor(pooling, "logits32")), 1e-5);
  // In the file a prompt that a network made is rounded to float.
  const auto unrounded = start();
  to_double(*unrounded.classifier);
  const auto in_double = unrounded.classifier->forward(reference.batch(), context);
  EXPECT_LT(model::largest_difference(in_double, reference.tensor(pooling, "logits")), double_tolerance);
}

TEST_P(PeftAdapter, GivesTheGradientsOfPeft) {
  for (const auto type : {at::kDouble, at::kFloat}) {
    const auto trained = start();
    if (type == at::kDouble) to_double(*trained.classifier);
    model::bind_gradients(*trained.classifier);
    const double loss = model::backward_of_loss(*trained.classifier, reference.batch(), reference.labels());
    const double tolerance = type == at::kDouble ? double_tolerance : 2e-5;
    EXPECT_NEAR(loss, reference.tensor(pooling, "loss").item<double>(), tolerance);
    EXPECT_FALSE(trained.parameters.empty());
    for (const auto& [file_name, parameter] : trained.parameters) {
      const auto expected = reference.tensor(pooling, "gradient." + file_name).view(parameter->shape());
      const double scale = std::max(1.0, expected.abs().max().item<double>());
      EXPECT_LT(model::largest_difference(parameter->gradient(), expected), tolerance * scale) << file_name;
    }
  }
}

TEST_P(PeftAdapter, TrainsAsManyParametersAsPeft) {
  const auto trained = start();
  std::int64_t count = 0;
  for (const auto& [file_name, parameter] : trained_parameters(*trained.classifier)) {
    count += parameter->value().numel();
  }
  const auto expected = model::SafetensorsFile(peft_directory(name) / "reference.safetensors").tensor("trainable");
  EXPECT_EQ(count, expected.item<std::int64_t>());
}

TEST_P(PeftAdapter, MergedGivesTheSameLogitsOrSaysWhyNot) {
  const at::NoGradGuard no_grad;
  ForwardContext context;
  const auto trained = start();
  to_double(*trained.classifier);
  const auto method = make_method(trained.method);
  if (const auto reason = method->cannot_merge()) {
    EXPECT_FALSE(reason->empty());
    return;
  }
  method->merge(*trained.classifier);
  for (const model::Linear* linear : trained.classifier->linears()) EXPECT_EQ(linear->slot, nullptr) << linear->path();
  const auto logits = trained.classifier->forward(reference.batch(), context);
  EXPECT_LT(model::largest_difference(logits, reference.tensor(pooling, "logits")), std::max(1e-10, double_tolerance));
}

INSTANTIATE_TEST_SUITE_P(Adapters, PeftAdapter, testing::ValuesIn(reference_adapters("peft")),
                         [](const auto& instance) { return adapter_name(instance.param); });

TEST(PeftAdapters, AreComparedForEveryMethodThatPeftHas) {
  std::set<std::string> compared;
  for (const ReferenceAdapter& each : reference_adapters("peft")) {
    compared.insert(
        AdapterConfig(peft_directory(each.name) / "adapter_config.json").value<std::string>("peft_type", ""));
  }
  for (const MethodKind& kind : method_kinds()) {
    if (!kind.peft_type.empty()) {
      EXPECT_EQ(compared.count(kind.peft_type), 1U) << kind.peft_type;
    }
  }
}

TEST(PeftAdapters, HoldNothingThatIsNotKnown) {
  for (const ReferenceAdapter& each : reference_adapters("peft")) {
    Log log;
    log.warning = [&](std::string_view text) {
      EXPECT_EQ(text.find("not known"), std::string_view::npos) << each.name << ": " << text;
    };
    load_trained(peft_directory(each.name), {}, each.pooling, model::test_device(), log);
  }
}

TEST(PeftAdapters, PoolAsTransformersDoesUnlessTold) {
  EXPECT_EQ(load_peft(peft_directory("lora_query_value")).classifier->pooling(), Pooling::pooler);
  EXPECT_EQ(load_peft(peft_directory("lora_query_value"), Pooling::mean).classifier->pooling(), Pooling::mean);
  EXPECT_EQ(load_peft(peft_directory("lora_roberta")).classifier->pooling(), Pooling::cls);
}

std::string refusal_of_adapter(const std::string& name, const std::string& base = "odd_relu") {
  try {
    load_peft(model::reference_directory() / "peft_refused" / name, {}, model::reference_directory() / base);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(PeftAdapters, OfAnotherModelAreRefusedNamingTensorAndShapes) {
  EXPECT_THAT(refusal_of_adapter("another_model"),
              testing::AllOf(testing::HasSubstr("lora_A.weight"), testing::HasSubstr("needs shape [8, 40]"),
                             testing::HasSubstr("found [8, 64]"), testing::HasSubstr("another model?")));
}

TEST(PeftAdapters, WithoutAClassifierAreRefusedSayingWhy) {
  EXPECT_THAT(refusal_of_adapter("headless", "bare"), testing::HasSubstr("the adapter has no classifier of its own"));
}

}  // namespace
}  // namespace dtrain::peft
