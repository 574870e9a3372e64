// Several adapters in one, beside PEFT's add_weighted_adapter (combination_reference.py); full fine-tuning as LoRA.

#include "peft/formats/combination.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "peft/formats/extraction.h"
#include "peft/parts/lora_slot.h"
#include "peft/registry.h"
#include "tests/model/reference_case.h"

namespace dtrain::peft {
namespace {

using model::Pooling;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::filesystem::path combination_directory(const std::string& pair = "combination") {
  return model::reference_directory() / pair;
}

TrainedModel load_adapter(const std::filesystem::path& directory) {
  return load_trained(directory, {}, {}, at::kCPU, Log());
}

std::vector<TrainedModel> both(const std::string& pair = "combination") {
  std::vector<TrainedModel> adapters;
  for (const char* name : {"first", "second"}) adapters.push_back(load_adapter(combination_directory(pair) / name));
  return adapters;
}

at::Tensor value_of(TrainedModel& trained, const std::string& file_name) {
  for (const auto& [name, parameter] : make_method(trained.method)->file_parameters(*trained.classifier)) {
    if (name == file_name) return parameter->value();
  }
  ADD_FAILURE() << "no tensor " << file_name;
  return at::zeros({1});
}

constexpr const char* kMap = "base_model.model.bert.encoder.layer.1.attention.self.query";

class Combine : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(Combine, IsWhatPeftMakesOfThem) {
  const std::string pair = std::get<0>(GetParam());
  const std::string how = std::get<1>(GetParam());
  auto combined = combine_adapters(both(pair), {.how = how, .weights = {0.7, -0.4}, .density = 0.4});
  const model::SafetensorsFile expected(combination_directory(pair) / (how + ".safetensors"));
  int compared = 0;
  for (const auto& name : expected.names()) {
    if (!name.ends_with(".lora_A.weight")) continue;
    const std::string other = name.substr(0, name.size() - std::string("lora_A.weight").size()) + "lora_B.weight";
    const auto a = value_of(combined, name);
    const auto b = value_of(combined, other);
    EXPECT_EQ(a.sizes(), expected.tensor(name).sizes()) << name;
    // The factors of a decomposition have a free sign; their product has not.
    EXPECT_LT(model::largest_difference(at::mm(b, a), at::mm(expected.tensor(other), expected.tensor(name))), 1e-5)
        << name;
    if (how != "svd") {
      EXPECT_LT(model::largest_difference(a, expected.tensor(name)), 1e-6) << name;
      EXPECT_LT(model::largest_difference(b, expected.tensor(other)), 1e-6) << other;
    }
    ++compared;
  }
  EXPECT_EQ(compared, 6);
  for (const model::Linear* linear : combined.classifier->linears()) {
    const auto* slot = dynamic_cast<const LoraSlot*>(linear->slot.get());
    if (slot != nullptr) {
      EXPECT_EQ(slot->update().scale, 1) << linear->path();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, Combine,
                         testing::Combine(testing::Values("combination", "combination_ranks"),
                                          testing::Values("linear", "ties", "magnitude_prune", "svd")),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param)) + "_" + std::get<1>(instance.param);
                         });

TEST(Combine, OfHeadsIsTheirMeanByTheWeights) {
  auto adapters = both();
  const std::string head = "base_model.model.classifier.weight";
  const auto expected = (3 * value_of(adapters[0], head) + value_of(adapters[1], head)) / 4;
  auto combined = combine_adapters(both(), {.how = "linear", .weights = {3, 1}});
  EXPECT_LT(model::largest_difference(value_of(combined, head), expected), 1e-6);
}

TEST(Combine, ByDareKeepsAboutTheDensityAndScalesItUp) {
  const auto of = [](const char* how, double density, std::uint64_t seed) {
    auto combined = combine_adapters(both(), {.how = how, .weights = {1, 0}, .density = density, .seed = seed});
    return value_of(combined, std::string(kMap) + ".lora_A.weight");
  };
  const auto whole = of("linear", 1, 0);
  EXPECT_TRUE(at::equal(of("dare", 1, 0), whole));
  const auto half = of("dare", 0.5, 0);
  EXPECT_TRUE(at::equal(of("dare", 0.5, 0), half));
  EXPECT_TRUE(at::equal(of("dare_linear", 0.5, 0), half));  // PEFT's word for it
  EXPECT_FALSE(at::equal(of("dare", 0.5, 1), half));
  const auto kept = half != 0;
  EXPECT_NEAR(kept.to(at::kDouble).mean().item<double>(), 0.5, 0.15);
  EXPECT_LT(model::largest_difference(half.masked_select(kept), 2 * whole.masked_select(kept)), 1e-6);
}

// With both weights 1 and the masks that dare draws: of the elements that have the sign of the sum, the mean.
TEST(Combine, ByDareTiesElectsTheSignsOfWhatDareLeaves) {
  const auto of = [](const char* how, const std::vector<double>& weights) {
    auto combined = combine_adapters(both(), {.how = how, .weights = weights, .density = 0.6, .seed = 2});
    return value_of(combined, std::string(kMap) + ".lora_A.weight");
  };
  const auto first = of("dare", {1, 0});
  const auto second = of("dare", {0, 1});  // by the root of the second's scale, 10 / 4
  const auto positive = first + second / std::sqrt(2.5) >= 0;
  const auto agrees = [&](const at::Tensor& part) { return at::where(positive, part > 0, part < 0); };
  const auto sum = first * agrees(first) + second * agrees(second);
  const auto count = agrees(first).to(at::kInt) + agrees(second).to(at::kInt);
  EXPECT_LT(model::largest_difference(of("dare_ties", {1, 1}), sum / count.clamp_min(1)), 1e-6);
  EXPECT_GT((count == 1).sum().item<std::int64_t>(), 0);
  EXPECT_GT((count == 2).sum().item<std::int64_t>(), 0);
}

TEST(Combine, RefusesWhatDoesNotFit) {
  const auto refusal = [](const std::vector<std::string>& directories, const Combination& combination) {
    return [=] {
      std::vector<TrainedModel> adapters;
      for (const auto& directory : directories)
        adapters.push_back(load_adapter(model::reference_directory() / directory));
      combine_adapters(std::move(adapters), combination);
    };
  };
  const Combination equal{.weights = {1, 1}};
  EXPECT_THAT(refusal({"combination/first", "combination/second"}, {.how = "sum", .weights = {1, 1}}),
              ThrowsMessage<UsageError>(HasSubstr("--how: expected one of linear, ties")));
  EXPECT_THAT(refusal({"combination/first", "combination/second"}, {.weights = {1}}),
              ThrowsMessage<UsageError>(HasSubstr("a number for each of the 2 adapters, found 1")));
  EXPECT_THAT(refusal({"combination/first", "combination/second"}, {.weights = {1, -1}}),
              ThrowsMessage<UsageError>(HasSubstr("their sum is zero")));
  EXPECT_THAT(
      refusal({"combination/first", "peft/lora_query_value"}, equal),
      ThrowsMessage<UsageError>(AllOf(HasSubstr("their ranks differ: 4 and 8 at bert."), HasSubstr("; --how svd"))));
  EXPECT_THAT(refusal({"combination/first", "peft/lora_roberta"}, equal),
              ThrowsMessage<UsageError>(HasSubstr("their classes differ: 0, 1, 2 and 0, 1, 2, 3")));
  auto of_other_outputs = both();
  of_other_outputs[1].classifier->problem_type = ProblemType::multi_label_classification;
  EXPECT_THAT(
      [&] { combine_adapters(std::move(of_other_outputs), equal); },
      ThrowsMessage<UsageError>(HasSubstr("their outputs differ: single_label_classification and multi_label")));
  for (const char* name : {"peft/lora_bias", "peft/lora_pissa", "peft/lora_olora", "peft/lora_dora"}) {
    EXPECT_THAT(
        refusal({"combination/first", name}, equal),
        ThrowsMessage<UsageError>(HasSubstr("use_dora, lora_bias and init_lora_weights=pissa or olora cannot be")))
        << name;
  }
  EXPECT_THAT(refusal({"combination/first", "peft/loha"}, equal),
              ThrowsMessage<UsageError>(HasSubstr("only adapters of lora can be combined, found loha")));
}

// An adapter on one layer that trains more than its updates.
TrainedModel adapter_with_more(const std::string& spec, std::uint64_t seed) {
  TrainedModel trained;
  trained.classifier = model::ReferenceCase("odd_relu").load(Pooling::pooler, at::kFloat);
  trained.method = parse_method_spec(spec);
  make_method(trained.method)->attach(*trained.classifier, {.seed = seed});
  trained.classifier->linears().front()->bias.value().fill_(static_cast<double>(seed));
  trained.classifier->dense.weight.value().fill_(static_cast<double>(seed));
  return trained;
}

TEST(Combine, KeepsTheLayersAndMeansWhatTrainsBesideTheUpdates) {
  const std::string spec = "lora:layers_to_transform=1:bias=all:modules_to_save=pooler:r=2:init_lora_weights=false";
  std::vector<TrainedModel> adapters;
  for (const std::uint64_t seed : {1, 3}) adapters.push_back(adapter_with_more(spec, seed));
  const auto combined = combine_adapters(std::move(adapters), {.weights = {1, 1}});
  EXPECT_EQ(combined.method.text(),
            "lora:bias=all:exclude_modules=:layers_to_transform=1:lora_alpha=2:modules_to_save=pooler:r=2:"
            "target_modules=auto");
  const auto linears = combined.classifier->linears();
  EXPECT_EQ(std::count_if(linears.begin(), linears.end(), [](const auto* linear) { return linear->slot != nullptr; }),
            2);
  EXPECT_TRUE(linears.front()->bias.value().eq(2).all().item<bool>());
  EXPECT_TRUE(combined.classifier->dense.weight.value().eq(2).all().item<bool>());
}

TEST(Combine, RefusesToMeanWhatOneHasNotTrained) {
  for (const char* key : {"bias=all", "modules_to_save=pooler"}) {
    std::vector<TrainedModel> adapters;
    adapters.push_back(adapter_with_more("lora", 1));
    adapters.push_back(adapter_with_more(std::string("lora:") + key, 2));
    EXPECT_THAT(
        [&] {
          combine_adapters(std::move(adapters), {.weights = {1, 1}});
        },
        ThrowsMessage<UsageError>(HasSubstr("what one has not trained has no mean")))
        << key;
  }
}

// The base model and what it became: each encoder linear layer changed by a matrix of rank 3, and the head.
std::pair<std::unique_ptr<model::Classifier>, std::unique_ptr<model::Classifier>> tuned_and_base() {
  const model::ReferenceCase reference("odd_relu");
  auto tuned = reference.load(Pooling::mean, at::kDouble);
  auto base = reference.load(Pooling::mean, at::kDouble);
  at::manual_seed(11);
  for (model::Linear* linear : tuned->linears()) {
    const auto change =
        at::mm(at::randn({linear->out_features(), 3}, at::kDouble), at::randn({3, linear->in_features()}, at::kDouble));
    linear->weight.set_value(linear->weight.value() + 0.02 * change);
    linear->bias.set_value(linear->bias.value() + 0.1);
  }
  tuned->classifier.weight.set_value(tuned->classifier.weight.value() * 2);
  return {std::move(tuned), std::move(base)};
}

at::Tensor odd_relu_logits(model::Classifier& classifier) {
  const at::NoGradGuard no_grad;
  model::ForwardContext context;
  return classifier.forward(model::ReferenceCase("odd_relu").batch(), context);
}

TEST(Extract, OfAChangeOfLowRankIsExact) {
  const auto [tuned, base] = tuned_and_base();
  const auto extraction =
      extract_lora(*tuned, *base, parse_method_spec("lora:r=4:lora_alpha=2:target_modules=all-linear:bias=all"));
  EXPECT_LT(model::largest_difference(odd_relu_logits(*base), odd_relu_logits(*tuned)), 1e-9);
  EXPECT_EQ(extraction.linears.size(), 18U);
  for (const auto& linear : extraction.linears) EXPECT_LT(linear.error, 1e-9 * linear.change) << linear.path;
  EXPECT_TRUE(extraction.left_out.empty());
}

TEST(Extract, SaysWhatALowerRankLeavesOut) {
  double before = 1e9;
  for (const int r : {1, 2}) {
    const auto [tuned, base] = tuned_and_base();
    const auto extraction =
        extract_lora(*tuned, *base, parse_method_spec("lora:target_modules=query:r=" + std::to_string(r)));
    ASSERT_EQ(extraction.linears.size(), 3U);
    const auto& linear = extraction.linears[1];
    EXPECT_EQ(linear.path, "bert.encoder.layer.1.attention.self.query");
    // The rest of the decomposition is what the matmul of the factors misses.
    const auto original = model::ReferenceCase("odd_relu").load(Pooling::mean, at::kDouble);
    const auto change =
        tuned->encoder().layer(1).query.weight.value() - original->encoder().layer(1).query.weight.value();
    make_method(parse_method_spec("lora:target_modules=query:r=" + std::to_string(r)))->merge(*base);
    const auto missed = tuned->encoder().layer(1).query.weight.value() - base->encoder().layer(1).query.weight.value();
    EXPECT_NEAR(linear.change, change.norm().item<double>(), 1e-9);
    EXPECT_NEAR(linear.error, missed.norm().item<double>(), 1e-9);
    EXPECT_LT(linear.error, before);
    before = linear.error;
    // Biases of all linear layers, and the weights of those that are not wrapped.
    EXPECT_EQ(extraction.left_out.size(), 18U + 15U);
  }
}

TEST(Extract, RefusesAScaleOfZero) {
  const auto [tuned, base] = tuned_and_base();
  for (const char* spec : {"lora:lora_alpha=0", "lora:alpha_pattern=value~0"}) {
    EXPECT_THAT([&] { extract_lora(*tuned, *base, parse_method_spec(spec)); },
                ThrowsMessage<UsageError>(HasSubstr("lora_alpha is 0")))
        << spec;
  }
}

TEST(Extract, RefusesModelsThatAreNotOfOneKind) {
  const auto tuned = model::ReferenceCase("new_gelu").load(Pooling::mean, at::kFloat);
  const auto base = model::ReferenceCase("odd_relu").load(Pooling::mean, at::kFloat);
  EXPECT_THAT([&] { extract_lora(*tuned, *base, parse_method_spec("lora")); },
              ThrowsMessage<UsageError>(HasSubstr("are they of one model?")));
  EXPECT_THAT([&] { extract_lora(*tuned, *base, parse_method_spec("head")); },
              ThrowsMessage<UsageError>(HasSubstr("expected lora")));
}

}  // namespace
}  // namespace dtrain::peft
