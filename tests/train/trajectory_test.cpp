// Fifty steps of AdamW beside transformers and PEFT: the same start, the same batches (train_reference.py).

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "peft/trained_model.h"
#include "tests/train/small_run.h"
#include "train/optimizer.h"
#include "train/training_step.h"

namespace dtrain::train {
namespace {

constexpr double kRate = 1e-3;
constexpr std::int64_t kSteps = 50;

class Trajectory : public testing::TestWithParam<std::tuple<const char*, model::Pooling, at::ScalarType>> {
 protected:
  const std::string method = std::get<0>(GetParam());
  const model::Pooling pooling = std::get<1>(GetParam());
  const at::ScalarType type = std::get<2>(GetParam());

  std::unique_ptr<model::Classifier> start() const {
    std::unique_ptr<model::Classifier> classifier;
    if (method == "lora") {
      classifier = std::move(peft::load_trained(reference_directory() / "train" / "adapter",
                                                reference_directory() / "no_dropout", pooling, at::kCPU, Log())
                                 .classifier);
    } else {
      classifier = model::load_classifier(
          {.directory = reference_directory() / "no_dropout", .pooling = pooling, .trained_head = true});
      peft::make_method(peft::parse_method_spec(method == "layers" ? "layers:k=2" : method))->attach(*classifier, 0);
    }
    for (model::Parameter* parameter : classifier->parameters()) parameter->set_value(parameter->value().to(type));
    return classifier;
  }
};

TEST_P(Trajectory, IsThatOfTransformers) {
  const model::SafetensorsFile expected(reference_directory() / "train" /
                                        (method + "_" + model::pooling_name(pooling) + ".safetensors"));
  const auto losses = expected.tensor("losses");
  const auto norms = expected.tensor("norms");
  const auto examples = reference_data();
  const auto classifier = start();
  TrainOptions options;
  options.batch_size = 16;
  options.seed = 3;
  options.cache_memory = 1 << 24;
  const auto alone = dist::make_single_communicator();
  const RunContext context = context_over(*alone);
  FeatureStore features(options.cache_memory);
  FlatParameters parameters = flatten(*classifier);
  TrainingStep step(*classifier, parameters, options, examples, context, features);
  AdamW optimizer(parameters, options);

  const double tolerance = type == at::kDouble ? 1e-8 : 1e-4;
  int clipped = 0;
  for (std::int64_t i = 0; i < kSteps; ++i) {
    EXPECT_NEAR(step.run(i).loss, losses[i].item<double>(), tolerance) << "step " << i;
    const double norm = optimizer.step(kRate * schedule_factor(i, kSteps, options.warmup_ratio));
    EXPECT_NEAR(norm, norms[i].item<double>(), tolerance * std::max(1.0, norm)) << "step " << i;
    clipped += norm > options.max_gradient_norm ? 1 : 0;
  }
  EXPECT_GT(clipped, 0);
  for (const auto& [name, parameter] : peft::trained_parameters(*classifier, method == "lora")) {
    // The gradient of the key's bias is zero in theory; in float AdamW makes steps of its noise.
    const double allowed = name.ends_with(".key.bias") && type == at::kFloat ? kRate * kSteps : tolerance;
    const auto difference = (parameter->value().to(at::kDouble) - expected.tensor(name)).abs().max().item<double>();
    EXPECT_LT(difference, allowed) << name;
  }
}

std::string case_name(const testing::TestParamInfo<Trajectory::ParamType>& instance) {
  return std::string(std::get<0>(instance.param)) + "_" + model::pooling_name(std::get<1>(instance.param)) +
         (std::get<2>(instance.param) == at::kDouble ? "_double" : "_float");
}

INSTANTIATE_TEST_SUITE_P(Methods, Trajectory,
                         testing::Combine(testing::Values("full", "head", "layers", "lora"),
                                          testing::Values(model::Pooling::pooler, model::Pooling::mean),
                                          testing::Values(at::kDouble, at::kFloat)),
                         case_name);

}  // namespace
}  // namespace dtrain::train
