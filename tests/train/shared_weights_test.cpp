// Trials share the weights of their base model: what one trains must not be in the next.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "model/formats/model_weights.h"
#include "tests/peft/small_specs.h"
#include "tests/train/small_run.h"
#include "train/evaluation.h"

namespace dtrain::train {
namespace {

TEST(SharedWeights, AreLeftAsTheyAreByTrainingAndMergingWithEveryMethod) {
  at::set_num_threads(1);
  const auto directory = reference_directory() / "families" / "bert";
  const auto weights = std::make_shared<model::ModelWeights>(directory);
  weights->keep_tensors();
  const auto load = [&] {
    return model::load_classifier({.directory = directory,
                                   .pooling = model::Pooling::mean,
                                   .classes = 4,
                                   .head_seed = 1,
                                   .device = test_device(),
                                   .weights = weights});
  };
  const auto alone = dist::make_single_communicator();
  const RunContext context = context_over(*alone);
  const Examples examples = random_data(20, 4);
  const Examples dev = random_data(10, 5);
  const at::Tensor before = all_values(*load());
  for (const peft::MethodKind& kind : peft::method_kinds()) {
    SCOPED_TRACE(kind.name);
    const std::string spec = peft::small_spec(kind.name);
    const auto method = peft::make_method(peft::parse_method_spec(spec));
    const auto trained_on = [&](std::unique_ptr<model::Classifier> classifier) {
      method->attach(*classifier, {.seed = 1});
      TrainOptions options = short_run(spec, 12);
      options.learning_rate = 0.01;
      FeatureStore features(options.cache_memory);
      train(*classifier, examples, dev, options, {}, context, features);
      if (!method->cannot_merge()) method->merge(*classifier);
      return all_values(*classifier);
    };
    const at::Tensor shared = trained_on(load());
    EXPECT_TRUE(at::equal(all_values(*load()), before));
    // And what is trained on them is what is trained on weights of one's own.
    auto apart = load();
    for (model::Parameter* parameter : apart->stored_parameters()) parameter->set_value(parameter->value().clone());
    EXPECT_TRUE(at::equal(trained_on(std::move(apart)), shared));
  }
}

}  // namespace
}  // namespace dtrain::train
