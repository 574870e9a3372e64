#include "model/attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "tests/model/reference_case.h"

namespace dtrain::model {
namespace {

constexpr std::int64_t kHeads = 3;
constexpr std::int64_t kWidth = 24;
constexpr std::int64_t kTokens = 21;
constexpr std::int64_t kUsed = 18;

/// Sequences of 5, 1, 9 and 3 tokens, and three tokens of none.
TokenBatch batch() {
  TokenBatch batch{at::zeros({kTokens}, at::kLong), at::zeros({kTokens}, at::kLong), at::zeros({kTokens}, at::kLong),
                   at::tensor(std::vector<std::int64_t>{0, 5, 6, 15, kUsed})};
  batch.max_length = 9;
  return on_test_device(batch);
}

/// Whether a prefix stands before each sequence, and the type.
class Attention : public testing::TestWithParam<std::tuple<bool, at::ScalarType>> {
 protected:
  at::Tensor drawn(at::IntArrayRef shape) const {
    auto values = at::randn(shape, at::kDouble).to(test_device(), std::get<1>(GetParam()));
    return values.set_requires_grad(true);
  }
  KeysAndValues prefix() const {
    if (!std::get<0>(GetParam())) return {};
    return {drawn({4, 2, kWidth}), drawn({4, 2, kWidth})};
  }
  std::vector<at::Tensor> inputs() const {
    std::vector<at::Tensor> all = {query, key, value};
    if (extra.keys.defined()) all.insert(all.end(), {extra.keys, extra.values});
    return all;
  }
  /// Reads nothing from tokens of no example.
  at::Tensor loss(const at::Tensor& output) const { return (output * weights).slice(0, 0, kUsed).sum(); }

  const bool seeded = [] {
    at::manual_seed(3);
    return true;
  }();
  const at::Tensor query = drawn({kTokens, kWidth}), key = drawn({kTokens, kWidth}), value = drawn({kTokens, kWidth});
  const KeysAndValues extra = prefix();
  const at::Tensor weights = drawn({kTokens, kWidth}).detach();
};

TEST_P(Attention, IsThatOfPaddedSequences) {
  const double tolerance = std::get<1>(GetParam()) == at::kDouble ? 1e-12 : 1e-5;
  const auto output = attention(query, key, value, batch(), kHeads, {}, extra);
  const auto expected = padded_attention(query, key, value, batch(), kHeads, {}, extra);
  EXPECT_LT(largest_difference(output.slice(0, 0, kUsed), expected.slice(0, 0, kUsed)), tolerance);
  const auto gradients = torch::autograd::grad({loss(output)}, inputs());
  const auto expected_gradients = torch::autograd::grad({loss(expected)}, inputs());
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    EXPECT_LT(largest_difference(gradients[i], expected_gradients[i]), tolerance) << i;
  }
}

TEST_P(Attention, DropsInBackwardWhatItDroppedInForward) {
  const kernels::Dropout dropout{5, 1, 0.3};
  const auto output = attention(query, key, value, batch(), kHeads, dropout, extra);
  const double sum = loss(output).item<double>();
  EXPECT_GT(std::abs(sum - loss(attention(query, key, value, batch(), kHeads, {}, extra)).item<double>()), 0.1);
  // It is linear in the values, so their gradients give it back.
  const auto gradients = torch::autograd::grad({loss(output)}, inputs());
  double linear = (gradients[2] * value).sum().item<double>();
  if (extra.keys.defined()) linear += (gradients[4] * extra.values).sum().item<double>();
  EXPECT_NEAR(linear, sum, 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Types, Attention, testing::Combine(testing::Bool(), testing::Values(at::kFloat, at::kDouble)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param) ? "prefix_" : "plain_") +
                                  (std::get<1>(instance.param) == at::kDouble ? "double" : "float");
                         });

}  // namespace
}  // namespace dtrain::model
