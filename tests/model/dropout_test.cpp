#include "model/dropout.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "model/forward_context.h"
#include "tests/model/reference_case.h"

namespace dtrain::model {
namespace {

using kernels::Dropout;

// Philox4x32 with 7 rounds as its paper states it (Salmon et al., 2011).
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 7; ++round) {
    const std::uint64_t first = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t second = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<std::uint32_t>(second >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(second),
               static_cast<std::uint32_t>(first >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(first)};
    key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
  }
  return counter;
}

TEST(Philox, GivesThePublishedNumbers) {
  // Random123's known answers, philox4x32 of 7 rounds.
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (std::array<std::uint32_t, 4>{0x5f6fb709, 0x0d893f64, 0x4f121f81, 0x4f730a48}));
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (std::array<std::uint32_t, 4>{0x5207ddc2, 0x45165e59, 0x4d8ee751, 0x8c52f662}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<std::uint32_t, 4>{0x4dfccaba, 0x190a87f0, 0xc47362ba, 0xb6b5242a}));
}

constexpr std::int64_t kBlock = 128;

// The 16 bits that decide about each of the 128 elements from `first` on, found by asking for 65,536 probabilities'
// worth of masks in 16 questions.
std::vector<std::uint16_t> bits_of(const kernels::Loops<double>& loops, Dropout dropout, std::int64_t first) {
  std::vector<std::uint16_t> bits(kBlock, 0);
  const std::vector<double> ones(static_cast<std::size_t>(first + kBlock), 1);
  std::vector<double> kept(ones.size());
  for (int bit = 15; bit >= 0; --bit) {
    for (std::size_t i = 0; i < bits.size(); ++i) {
      const auto asked = static_cast<std::uint16_t>(bits[i] | (1U << bit));
      dropout.probability = asked / 65536.0;
      loops.dropout(dropout, ones.data(), kept.data(), first, first + kBlock);
      if (kept[static_cast<std::size_t>(first) + i] != 0) bits[i] = asked;
    }
  }
  return bits;
}

class DropoutKernel : public testing::TestWithParam<kernels::InstructionSet> {
 protected:
  at::Tensor mask(const Dropout& dropout, std::int64_t count) const {
    const auto ones = at::ones({count}, at::kDouble);
    auto kept = at::empty_like(ones);
    GetParam().doubles->dropout(dropout, ones.const_data_ptr<double>(), kept.mutable_data_ptr<double>(), 0, count);
    return kept;
  }
};

TEST_P(DropoutKernel, DrawsPhiloxNumbers) {
  for (const std::int64_t first : {std::int64_t{0}, 7 * kBlock}) {
    const Dropout dropout{0x0123456789abcdefULL, 77, 0};
    const auto bits = bits_of(*GetParam().doubles, dropout, first);
    for (std::uint32_t block = 0; block < 16; ++block) {
      const auto words = philox({static_cast<std::uint32_t>(first / 8) + block, 0, 77, 0}, {0x89abcdef, 0x01234567});
      for (std::size_t word = 0; word < 4; ++word) {
        const std::size_t place = 2 * (word * 16 + block);
        EXPECT_EQ(bits[place], words[word] & 0xffff);
        EXPECT_EQ(bits[place + 1], words[word] >> 16);
      }
    }
  }
}

TEST_P(DropoutKernel, KeepsTheStatedShareAtTheExactScale) {
  constexpr std::int64_t kCount = 1'000'000;
  for (const double probability : {0.001, 0.1, 0.5, 0.9}) {
    const auto kept = mask({42, 1, probability}, kCount);
    const double rounded = std::round(probability * 65536) / 65536;
    const double share = (kept > 0).to(at::kDouble).mean().item<double>();
    EXPECT_NEAR(share, 1 - rounded, 5 * std::sqrt(probability * (1 - probability) / kCount));
    EXPECT_EQ(kept.max().item<double>(), 1 / (1 - rounded));
    EXPECT_TRUE(at::logical_or(kept == 0, kept == 1 / (1 - rounded)).all().item<bool>());
  }
}

TEST_P(DropoutKernel, DrawsTheSameMaskForEveryTypeAndInPieces) {
  const Dropout dropout{7, 9, 0.3};
  const std::int64_t count = 1000;  // ends inside a block
  const auto whole = mask(dropout, count);
  const auto ones = at::ones({count}, at::kFloat);
  auto floats = at::empty_like(ones);
  for (std::int64_t first = 0; first < count; first += kBlock) {
    GetParam().floats->dropout(dropout, ones.const_data_ptr<float>(), floats.mutable_data_ptr<float>(), first,
                               std::min(first + kBlock, count));
  }
  EXPECT_TRUE(at::equal(floats == 0, whole == 0));
  const auto plain = kernels::instruction_sets().front();
  auto other = at::empty_like(whole);
  plain.doubles->dropout(dropout, at::ones_like(whole).const_data_ptr<double>(), other.mutable_data_ptr<double>(), 0,
                         count);
  EXPECT_TRUE(at::equal(other, whole));
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, DropoutKernel, testing::ValuesIn(kernels::instruction_sets()),
                         [](const auto& instance) { return std::string(instance.param.name); });

// The share of elements on which two masks agree, as a number of standard deviations from that of independent ones.
double dependence(const Dropout& left, const Dropout& right) {
  constexpr std::int64_t kCount = 200'000;
  const auto ones = at::ones({kCount});
  const auto agree = (dropout(ones, left) == 0) == (dropout(ones, right) == 0);
  const double p = left.probability;
  const double expected = p * p + (1 - p) * (1 - p);
  return (agree.to(at::kDouble).mean().item<double>() - expected) / std::sqrt(expected * (1 - expected) / kCount);
}

TEST(DropoutStreams, AreIndependentAndRepeatable) {
  const DropoutStream stream{5, 100, 2};
  const auto first = [](const DropoutStream& of) { return ForwardContext(of, 0).next_dropout(0.5); };
  EXPECT_GT(dependence(first(stream), first(stream)), 400);
  for (const DropoutStream& other : {DropoutStream{6, 100, 2}, DropoutStream{5, 101, 2}, DropoutStream{5, 100, 3},
                                     DropoutStream{5, 2, 100}, DropoutStream{100, 5, 2}}) {
    EXPECT_LT(std::abs(dependence(first(stream), first(other))), 5);
  }
  ForwardContext context(stream, 0);
  const auto site = context.next_dropout(0.5);
  EXPECT_LT(std::abs(dependence(site, context.next_dropout(0.5))), 5);
}

TEST(DropoutStreams, AreOffBelowTheFirstTrainableStageWithoutMovingTheOthers) {
  ForwardContext all({1, 2, 3}, 0);
  ForwardContext top({1, 2, 3}, 2);
  for (int stage = 0; stage < 4; ++stage) {
    all.enter_stage(stage);
    top.enter_stage(stage);
    const auto whole = all.next_dropout(0.1);
    const auto part = top.next_dropout(0.1);
    EXPECT_EQ(part.probability, stage < 2 ? 0 : 0.1);
    EXPECT_EQ(part.site, whole.site);
    EXPECT_EQ(part.key, whole.key);
  }
  ForwardContext evaluation;
  EXPECT_FALSE(evaluation.training());
  EXPECT_EQ(evaluation.next_dropout(0.1).probability, 0);
}

TEST(DropoutOperation, DropsTheSameInBackwardAsInForward) {
  auto input = at::randn({37, 53}, at::kDouble);
  input.requires_grad_(true);
  const Dropout mask{11, 4, 0.4};
  const auto output = dropout(input, mask);
  const auto upstream = at::randn({37, 53}, at::kDouble);
  torch::autograd::backward({output}, {upstream});
  const auto factors = (output / input).detach();
  EXPECT_LT((input.grad() - upstream * factors).abs().max().item<double>(), 1e-12);
  EXPECT_NEAR((factors == 0).to(at::kDouble).mean().item<double>(), 0.4, 0.06);
}

TEST(DropoutOperation, DoesNotDependOnTheNumberOfThreads) {
  const auto input = at::randn({300, 401});
  const Dropout mask{11, 4, 0.4};
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const auto alone = dropout(input, mask);
  at::set_num_threads(4);
  EXPECT_TRUE(at::equal(dropout(input, mask), alone));
  at::set_num_threads(before);
}

// Of the whole model, with every dropout on: the masks follow from the stream, so the loss is a smooth function.
TEST(Gradients, UnderDropoutAreThoseOfTheLoss) {
  const ReferenceCase reference("new_gelu");
  for (const Pooling pooling : {Pooling::pooler, Pooling::mean}) {
    const auto classifier = reference.load(pooling, at::kDouble);
    for (Parameter* parameter : classifier->parameters()) parameter->set_trainable(true);
    bind_gradients(*classifier);
    const ForwardContext context({3, 1, 4}, 0);
    const double loss = backward_of_loss(*classifier, reference.batch(), reference.labels(), context);
    EXPECT_NE(loss, reference.tensor(pooling, "loss").item<double>()) << "nothing was dropped";
    at::manual_seed(7);
    std::vector<at::Tensor> gradients;
    for (const Parameter* parameter : classifier->parameters()) gradients.push_back(parameter->gradient().clone());
    std::size_t next = 0;
    for (Parameter* parameter : classifier->parameters()) {
      const auto value = parameter->value();
      const auto gradient = gradients[next++];
      auto noise = at::randn_like(value);
      // The padding token's embedding does not train, and the text holds that token.
      if (parameter->name().ends_with("word_embeddings.weight")) noise[0].zero_();
      const auto direction = noise / noise.norm();
      constexpr double kStep = 1e-4;
      double losses[2];
      for (const int side : {0, 1}) {
        parameter->set_value(value + (side == 0 ? -kStep : kStep) * direction);
        losses[side] = backward_of_loss(*classifier, reference.batch(), reference.labels(), context);
      }
      parameter->set_value(value);
      const double slope = (losses[1] - losses[0]) / (2 * kStep);
      EXPECT_NEAR((gradient * direction).sum().item<double>(), slope, 1e-9) << parameter->name();
    }
  }
}

}  // namespace
}  // namespace dtrain::model
