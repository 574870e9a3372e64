#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/error.h"
#include "peft/formats/trained_model.h"
#include "peft/parts/adalora_slot.h"
#include "peft/registry.h"
#include "tests/base/temporary_directory.h"
#include "tests/model/reference_case.h"

namespace dtrain::peft {
namespace {

using model::Pooling;
using testing::HasSubstr;

const std::filesystem::path kCut = model::reference_directory() / "peft_cut";

at::Tensor logits(model::Classifier& classifier) {
  const at::NoGradGuard no_grad;
  model::ForwardContext context;
  return classifier.forward(model::ReferenceCase("peft_cut").batch(), context);
}

std::map<std::string, std::int64_t> ranks(model::Classifier& classifier) {
  std::map<std::string, std::int64_t> all;
  for (const model::Linear* linear : classifier.linears()) {
    if (const auto* slot = dynamic_cast<const AdaLoraSlot*>(linear->slot.get())) {
      all[linear->path()] = slot->e.value().size(0);
    }
  }
  return all;
}

TEST(AdaLora, ReadsTheRanksThatPeftHasCutTo) {
  const auto trained = load_trained(kCut, {}, {}, at::kCPU, Log());
  const auto expected = model::ReferenceCase("peft_cut").tensor(Pooling::pooler, "logits");
  EXPECT_LT(model::largest_difference(logits(*trained.classifier), expected), 1e-5);
  std::int64_t sum = 0;
  std::set<std::int64_t> different;
  for (const auto& [path, rank] : ranks(*trained.classifier)) {
    sum += rank;
    different.insert(rank);
  }
  EXPECT_EQ(sum, 6 * 2);
  EXPECT_GT(different.size(), 1U);
}

TEST(AdaLora, KeepsItsRanksWhenItIsSavedAgain) {
  const TemporaryDirectory temporary;
  auto first = load_trained(kCut, {}, {}, at::kCPU, Log());
  const auto base = model::reference_directory() / "odd_relu";
  save_trained(*first.classifier, first.method, first.labels, base, temporary.path());
  auto second = load_trained(temporary.path(), {}, {}, at::kCPU, Log());
  EXPECT_EQ(ranks(*second.classifier), ranks(*first.classifier));
  EXPECT_TRUE(at::equal(logits(*second.classifier), logits(*first.classifier)));
}

class RankAllocation : public testing::Test {
 protected:
  RankAllocation() {
    method->attach(*classifier, {});
    at::manual_seed(3);
    for (const auto& [name, parameter] : trained_parameters(*classifier)) {
      parameter->set_value(parameter->value() + at::randn_like(parameter->value()));
    }
    model::bind_gradients(*classifier);
  }

  void step(TrainingHooks& hooks, std::int64_t number) const {
    at::manual_seed(static_cast<std::uint64_t>(number));
    for (const auto& [name, parameter] : trained_parameters(*classifier)) parameter->gradient().normal_();
    hooks.after_step(number);
  }

  std::vector<at::Tensor> diagonals() const {
    std::vector<at::Tensor> all;
    for (const auto& [name, parameter] : trained_parameters(*classifier)) {
      if (name.ends_with("lora_E")) all.push_back(parameter->value().clone());
    }
    return all;
  }

  const std::unique_ptr<model::Classifier> classifier =
      model::ReferenceCase("odd_relu").load(Pooling::mean, at::kDouble);
  const std::unique_ptr<Method> method =
      make_method(parse_method_spec("adalora:init_r=5:target_r=2:tinit=2:tfinal=3:deltaT=2"));
};

TEST_F(RankAllocation, EndsAtTheTargetRankOnAverage) {
  const auto hooks = method->start_training_hooks(*classifier, 20);
  for (int number = 0; number < 20; ++number) {
    step(*hooks, number);
    // Nothing trains here, so what was cut does not grow again.
    const std::int64_t left = at::cat(diagonals()).ne(0).sum().item<std::int64_t>();
    if (number <= 3) {
      EXPECT_EQ(left, 6 * 5) << number;
    } else {
      EXPECT_LT(left, 6 * 5) << number;
    }
  }
  std::int64_t kept = 0;
  for (const model::Linear* linear : classifier->linears()) {
    if (const auto* slot = dynamic_cast<const AdaLoraSlot*>(linear->slot.get())) {
      kept += slot->pattern.sum().item<std::int64_t>();
    }
  }
  EXPECT_EQ(kept, 6 * 2);
}

TEST_F(RankAllocation, GoesOnFromItsState) {
  const auto whole = method->start_training_hooks(*classifier, 20);
  for (int number = 0; number < 9; ++number) step(*whole, number);
  NamedTensors state;
  for (const auto& [name, tensor] : whole->state()) state.emplace_back(name, tensor.clone());
  const auto middle = diagonals();
  for (int number = 9; number < 20; ++number) step(*whole, number);
  const auto expected = diagonals();

  std::size_t next = 0;
  for (const auto& [name, parameter] : trained_parameters(*classifier)) {
    if (name.ends_with("lora_E")) parameter->set_value(middle[next++]);
  }
  const auto resumed = method->start_training_hooks(*classifier, 20);
  resumed->restore(state);
  for (int number = 9; number < 20; ++number) step(*resumed, number);
  const auto ends = diagonals();
  for (std::size_t i = 0; i < ends.size(); ++i) EXPECT_TRUE(at::equal(ends[i], expected[i]));
}

TEST_F(RankAllocation, NeedsStepsToCutIn) {
  EXPECT_THAT([&] { method->start_training_hooks(*classifier, 5); },
              testing::ThrowsMessage<UsageError>(HasSubstr("tinit 2 and tfinal 3 leave none of the 5 steps")));
  EXPECT_THAT([] { make_method(parse_method_spec("adalora:target_r=12")); },
              testing::ThrowsMessage<UsageError>(HasSubstr("target_r must be less than init_r, found 12 and 12")));
}

}  // namespace
}  // namespace dtrain::peft
