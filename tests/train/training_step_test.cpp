#include "train/training_step.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "base/error.h"
#include "tests/train/small_run.h"

namespace dtrain::train {
namespace {

class Step : public testing::Test {
 protected:
  Step() { at::set_num_threads(1); }

  /// The gradients of one step, in double, by the parameters' order.
  at::Tensor gradients(const TrainOptions& options, const std::string& checkpoint, std::int64_t number = 0) {
    const auto classifier = classifier_with(checkpoint, options.method.text());
    for (model::Parameter* parameter : classifier->parameters()) {
      parameter->set_value(parameter->value().to(at::kDouble));
    }
    FeatureStore features(options.cache_memory);
    FlatParameters parameters = flatten(*classifier);
    TrainingStep step(*classifier, parameters, options, examples, context, features);
    step.run(number);
    return parameters.gradients.clone();
  }

  const std::unique_ptr<dist::Communicator> alone = dist::make_single_communicator();
  RunContext context = context_over(*alone);
  const Examples examples = random_data(40, 3);
};

TEST_F(Step, InMicroBatchesHasTheGradientOfTheWholeBatch) {
  for (const char* method : {"full", "lora", "head", "layers:k=1"}) {
    TrainOptions options = short_run(method, 1);
    const auto whole = gradients(options, "no_dropout");
    for (const std::int64_t micro : {1, 3, 8}) {
      options.micro_batch_size = micro;
      EXPECT_LT((gradients(options, "no_dropout") - whole).abs().max().item<double>(), 1e-12) << method << " " << micro;
    }
  }
}

TEST_F(Step, OverVirtualRanksHasTheGradientOfTheWholeBatch) {
  for (const char* method : {"full", "lora", "head"}) {
    TrainOptions options = short_run(method, 1);
    const auto whole = gradients(options, "no_dropout");
    for (const int shards : {1, 3, 4, 16}) {  // with 16 shards and 8 examples some are empty
      options.virtual_ranks = shards;
      EXPECT_LT((gradients(options, "no_dropout") - whole).abs().max().item<double>(), 1e-12)
          << method << " " << shards;
    }
  }
}

TEST_F(Step, DropsOtherUnitsInEachStepAndForEachSeedAndTheSameAgain) {
  TrainOptions options = short_run("full", 1);
  options.batch_size = 40;  // the same examples in every step
  const auto first = gradients(options, "new_gelu", 0);
  EXPECT_TRUE(at::equal(gradients(options, "new_gelu", 0), first));
  EXPECT_GT((gradients(options, "new_gelu", 1) - first).abs().max().item<double>(), 1e-6);
  options.seed = 6;
  EXPECT_GT((gradients(options, "new_gelu", 0) - first).abs().max().item<double>(), 1e-6);
}

TEST_F(Step, RunsWhatIsFrozenWithoutDropoutWhetherItIsKeptOrNot) {
  for (const char* method : {"head", "layers:k=1", "lora:layers_to_transform=2", "pfeiffer:leave_out=0+1"}) {
    TrainOptions options = short_run(method, 1);
    options.virtual_ranks = 2;
    const auto cached = gradients(options, "new_gelu");
    // Nothing, and one of the two shards' examples, in doubles of 64.
    for (const std::int64_t memory : {0, 20 * 64 * 8}) {
      options.cache_memory = memory;
      EXPECT_LT((gradients(options, "new_gelu") - cached).abs().max().item<double>(), 1e-12) << method << " " << memory;
    }
  }
}

TEST_F(Step, RunsWhatIsFrozenOnceWhereItIsKept) {
  for (const std::int64_t memory : {std::int64_t{0}, std::int64_t{1} << 30}) {
    const auto classifier = classifier_with("new_gelu", "head");
    const TrainOptions options = short_run("head", 1);
    FeatureStore features(memory);
    FlatParameters parameters = flatten(*classifier);
    TrainingStep step(*classifier, parameters, options, examples, context, features);
    step.run(0);
    // Whoever runs the encoder from now on gets nothing finite.
    for (model::Parameter* parameter : classifier->parameters()) {
      if (!parameter->trainable()) parameter->value().fill_(std::numeric_limits<float>::quiet_NaN());
    }
    if (memory == 0) {
      EXPECT_THROW(step.run(1), TrainingError);
    } else {
      EXPECT_TRUE(std::isfinite(step.run(1).loss));
    }
  }
}

TEST_F(Step, WithALossThatIsNotFiniteStopsNamingStepAndExamples) {
  const auto classifier = classifier_with("new_gelu", "full");
  // Of either sign.
  classifier->classifier.bias.set_value(at::full({4}, -std::numeric_limits<float>::quiet_NaN()));
  const TrainOptions options = short_run("full", 1);
  FeatureStore features(0);
  FlatParameters parameters = flatten(*classifier);
  TrainingStep step(*classifier, parameters, options, examples, context, features);
  EXPECT_THAT([&] { step.run(2); },
              testing::ThrowsMessage<TrainingError>(testing::AllOf(testing::HasSubstr("the loss of step 3 is nan"),
                                                                   testing::ContainsRegex("examples [0-9]+, [0-9]+"),
                                                                   testing::HasSubstr("a lower --lr than 0.003"))));
}

TEST_F(Step, WithALossThatIsNotFiniteSaysWhereItBegins) {
  const auto message = [&](const char* method, const auto& spoil) {
    const auto classifier = classifier_with("new_gelu", method);
    spoil(*classifier);
    const TrainOptions options = short_run(method, 1);
    FeatureStore features(0);
    FlatParameters parameters = flatten(*classifier);
    TrainingStep step(*classifier, parameters, options, examples, context, features);
    try {
      step.run(0);
    } catch (const TrainingError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  // Also of what is frozen, and with virtual tokens in front.
  for (const char* method : {"full", "lora", "head", "prompt"}) {
    EXPECT_THAT(message(method, [](auto& c) { c.encoder().embedding_norm().weight.value().fill_(kInfinity); }),
                testing::HasSubstr("are those of the embeddings."))
        << method;
    EXPECT_THAT(message(method, [](auto& c) { c.encoder().layer(1).output.bias.value().fill_(kInfinity); }),
                testing::HasSubstr("are those of layer 2 of 3."))
        << method;
    EXPECT_THAT(message(method, [](auto& c) { c.classifier.bias.value().fill_(kInfinity); }),
                testing::HasSubstr("are those of the head or the loss."))
        << method;
  }
}

TEST_F(Step, ReportsLossExamplesAndTokensOfTheGlobalBatch) {
  const auto classifier = classifier_with("new_gelu", "head");
  TrainOptions options = short_run("head", 1);
  options.batch_size = 64;  // more than there are
  FeatureStore features(0);
  FlatParameters parameters = flatten(*classifier);
  TrainingStep step(*classifier, parameters, options, examples, context, features);
  EXPECT_EQ(step.steps_per_epoch(), 1);
  const auto outcome = step.run(0);
  EXPECT_EQ(outcome.examples, 40);
  std::int64_t tokens = 0;
  for (std::int64_t id = 0; id < 40; ++id) tokens += examples.length(id);
  EXPECT_EQ(outcome.tokens, tokens);
  EXPECT_GT(outcome.loss, 0.5);
  EXPECT_FALSE(outcome.stop_requested);
  EXPECT_EQ(step.allreduce_bytes(), 0);
}

TEST(Flatten, PutsMatricesBeforeVectorsAndTheTopFirst) {
  const auto classifier = classifier_with("new_gelu", "layers:k=1", model::Pooling::pooler);
  const auto before = all_values(*classifier);
  const FlatParameters flat = flatten(*classifier);
  EXPECT_TRUE(at::equal(all_values(*classifier), before));
  EXPECT_EQ(flat.parameters.front()->name(), "classifier.weight");
  EXPECT_EQ(flat.offsets.size(), flat.parameters.size() + 1);
  ASSERT_EQ(flat.groups.size(), 2U);
  EXPECT_TRUE(flat.groups[0].decays && !flat.groups[1].decays);
  for (std::size_t i = 0; i < flat.parameters.size(); ++i) {
    EXPECT_EQ(flat.offsets[i]<flat.groups[0].end, flat.parameters[i]->value().dim()> 1) << flat.parameters[i]->name();
    // A view: what the optimiser writes is what the model computes with.
    EXPECT_TRUE(
        at::equal(flat.parameters[i]->value().flatten(), flat.values.slice(0, flat.offsets[i], flat.offsets[i + 1])));
    EXPECT_EQ(flat.parameters[i]->value().storage().data(), flat.values.storage().data());
  }
}

}  // namespace
}  // namespace dtrain::train
