// Fifty steps of AdamW beside transformers and PEFT: the same start, the same batches (train_reference.py).

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/base/temporary_directory.h"
#include "tests/peft/peft_start.h"
#include "tests/train/small_run.h"
#include "train/optimizer.h"
#include "train/training_step.h"

namespace dtrain::train {
namespace {

namespace fs = std::filesystem;

constexpr double kRate = 1e-3;
constexpr std::int64_t kSteps = 50;

struct Case {
  fs::path directory;
  model::Pooling pooling;
  at::ScalarType type;
};

// Every run that train_reference.py wrote into a folder.
std::vector<Case> cases(const std::string& folder) {
  std::vector<Case> all;
  const fs::path runs = reference_directory() / "train" / folder;
  if (!fs::exists(runs)) return all;
  for (const auto& run : fs::directory_iterator(runs)) {
    for (const auto pooling : {model::Pooling::pooler, model::Pooling::mean}) {
      const fs::path file = run.path() / (model::pooling_name(pooling) + ".safetensors");
      if (!fs::exists(file)) continue;
      const model::SafetensorsFile reference(file);
      // Inside of some methods PEFT computes in float what it is given in double.
      const bool exact = !reference.contains("exact") || reference.tensor("exact").item<std::int64_t>() != 0;
      if (exact) all.push_back({run.path(), pooling, at::kDouble});
      all.push_back({run.path(), pooling, at::kFloat});
    }
  }
  std::sort(all.begin(), all.end(), [](const Case& a, const Case& b) { return a.directory < b.directory; });
  return all;
}

std::string trajectory_case_name(const testing::TestParamInfo<Case>& instance) {
  const Case& run = instance.param;
  return run.directory.filename().string() + "_" + model::pooling_name(run.pooling) +
         (run.type == at::kDouble ? "_double" : "_float");
}

class Run : public testing::TestWithParam<Case> {
 protected:
  Run() {
    options.batch_size = 16;
    options.seed = 3;
    options.cache_memory = 1 << 24;
    for (model::Parameter* parameter : start.classifier->parameters()) {
      parameter->set_value(parameter->value().to(GetParam().type));
    }
  }

  bool in_double() const { return GetParam().type == at::kDouble; }

  void expect_end() const {
    EXPECT_FALSE(start.parameters.empty());
    for (const auto& [name, parameter] : start.parameters) {
      // The gradient of the key's bias is zero in theory; in float AdamW makes steps of its noise.
      const double allowed = name.ends_with(".key.bias") && !in_double() ? kRate * kSteps : tolerance;
      const auto end = expected.tensor(name).view(parameter->shape());
      EXPECT_LT(model::largest_difference(parameter->value(), end), allowed) << name;
    }
  }

  peft::PeftStart start =
      peft::read_peft_start(GetParam().directory, reference_directory() / "no_dropout", GetParam().pooling);
  const model::SafetensorsFile expected{GetParam().directory /
                                        (model::pooling_name(GetParam().pooling) + ".safetensors")};
  const at::Tensor losses = expected.tensor("losses");
  const double tolerance = in_double() ? 1e-8 : 1e-4;
  const Examples examples = reference_data();
  const std::unique_ptr<dist::Communicator> alone = dist::make_single_communicator();
  TrainOptions options;
};

using Trajectory = Run;

TEST_P(Trajectory, IsThatOfThePeer) {
  const auto norms = expected.tensor("norms");
  const RunContext context = context_over(*alone);
  FeatureStore features(options.cache_memory);
  FlatParameters parameters = flatten(*start.classifier);
  const auto hooks = peft::make_method(start.method)->start_training_hooks(*start.classifier, kSteps);
  TrainingStep step(*start.classifier, parameters, options, examples, context, features, hooks.get());
  AdamW optimizer(parameters, options, step.sharding());
  int clipped = 0;
  for (std::int64_t i = 0; i < kSteps; ++i) {
    EXPECT_NEAR(step.run(i).loss, losses[i].item<double>(), tolerance) << "step " << i;
    const double norm = optimizer.step(kRate * schedule_factor(i, kSteps, options.warmup_ratio));
    EXPECT_NEAR(norm, norms[i].item<double>(), tolerance * std::max(1.0, norm)) << "step " << i;
    if (hooks) hooks->after_step(i);
    clipped += norm > options.max_gradient_norm ? 1 : 0;
  }
  EXPECT_GT(clipped, 0);
  expect_end();
}

INSTANTIATE_TEST_SUITE_P(Methods, Trajectory, testing::ValuesIn(cases("trajectories")), trajectory_case_name);

TEST(Trajectories, AreComparedForEveryMethodThatAPeerHas) {
  std::set<std::string> compared;
  for (const Case& run : cases("trajectories")) {
    compared.insert(
        peft::read_peft_start(run.directory, reference_directory() / "no_dropout", run.pooling).method.name);
  }
  for (const peft::MethodKind& kind : peft::method_kinds()) {
    if (kind.peft_type.empty() && kind.adapter_hub_architecture.empty()) continue;
    EXPECT_EQ(compared.count(kind.name), 1U) << kind.name;
  }
}

using PhasedTrajectory = Run;

TEST_P(PhasedTrajectory, IsThatOfOneOptimizerAfterAnother) {
  const TemporaryDirectory temporary;
  options.method = start.method;
  options.learning_rate = kRate;
  options.max_steps = kSteps;
  options.log_steps = 1;
  FeatureStore features(options.cache_memory);
  train(*start.classifier, examples, {}, options, {temporary.path() / "log.jsonl", {}, false}, context_over(*alone),
        features);
  std::ifstream log(temporary.path() / "log.jsonl");
  std::int64_t step = 0;
  for (std::string line; std::getline(log, line); ++step) {
    EXPECT_NEAR(nlohmann::json::parse(line)["loss"].get<double>(), losses[step].item<double>(), tolerance)
        << "step " << step;
  }
  EXPECT_EQ(step, kSteps);
  // With what trains from the last phase on.
  start.parameters = peft::trained_parameters(*start.classifier);
  expect_end();
}

INSTANTIATE_TEST_SUITE_P(Methods, PhasedTrajectory, testing::ValuesIn(cases("phases")), trajectory_case_name);

}  // namespace
}  // namespace dtrain::train
