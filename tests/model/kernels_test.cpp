// The loops of each instruction set that this machine has, beside LibTorch's operations in double.

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "model/kernels/loops.h"
#include "model/kernels/stored_type.h"

namespace dtrain::model::kernels {
namespace {

// What a kernel is given and gives, in double.
struct AttentionCase {
  std::vector<std::int64_t> lengths;
  std::int64_t heads = 0;
  std::int64_t size = 0;
  Dropout dropout;
  std::int64_t extra = 0;  // keys of a sequence before those of its tokens
  at::Tensor packed;       // [keys, 3 * heads * size]: query, key, value side by side; as many queries as tokens
  at::Tensor upstream;     // [tokens, heads * size]

  std::int64_t hidden() const { return heads * size; }
  std::int64_t tokens() const { return upstream.size(0); }
};

struct AttentionOutcome {
  at::Tensor output;
  at::Tensor gradient;  // of `packed`
};

AttentionCase random_case(std::vector<std::int64_t> lengths, std::int64_t heads, std::int64_t size, double share,
                          std::int64_t extra = 0) {
  AttentionCase c{std::move(lengths), heads, size, {1234567, 5, share}, extra, {}, {}};
  std::int64_t tokens = 0;
  for (const auto length : c.lengths) tokens += length;
  const auto keys = tokens + extra * static_cast<std::int64_t>(c.lengths.size());
  c.packed = at::randn({keys, 3 * heads * size}, at::kDouble);
  c.upstream = at::randn({tokens, heads * size}, at::kDouble);
  return c;
}

template <typename Real, typename Stored>
AttentionOutcome run(const Loops<Real, Stored>& loops, const AttentionCase& c, at::ScalarType stored) {
  const auto real = std::is_same_v<Real, double> ? at::kDouble : at::kFloat;
  const auto packed = c.packed.to(stored);
  const auto upstream = c.upstream.to(stored);
  const auto output = at::empty({c.tokens(), c.hidden()}, stored);
  const auto gradient = at::full_like(packed, 1e30);
  const auto log_sum = at::empty({c.tokens(), c.heads}, real);
  gradient.slice(0, c.tokens()).slice(1, 0, c.hidden()).zero_();  // no queries there
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int64_t> key_offsets{0};
  Attention<Real, Stored> a{};
  for (const auto length : c.lengths) {
    offsets.push_back(offsets.back() + length);
    key_offsets.push_back(key_offsets.back() + length + c.extra);
    a.max_keys = std::max(a.max_keys, length + c.extra);
  }
  a.query = stored_data<Stored>(packed);
  a.key = a.query + c.hidden();
  a.value = a.key + c.hidden();
  a.stride = a.gradient_stride = 3 * c.hidden();
  a.offsets = offsets.data();
  a.key_offsets = key_offsets.data();
  a.heads = c.heads;
  a.size = c.size;
  a.scale = static_cast<Real>(1 / std::sqrt(static_cast<double>(c.size)));
  a.dropout = c.dropout;
  a.output = mutable_stored_data<Stored>(output);
  a.log_sum = log_sum.template mutable_data_ptr<Real>();
  a.output_gradient = stored_data<Stored>(upstream);
  a.query_gradient = mutable_stored_data<Stored>(gradient);
  a.key_gradient = a.query_gradient + c.hidden();
  a.value_gradient = a.key_gradient + c.hidden();
  // In two pieces, as two threads would.
  const auto items = static_cast<std::int64_t>(c.lengths.size()) * c.heads;
  for (const auto& [first, last] : {std::pair(std::int64_t{0}, items / 2), std::pair(items / 2, items)}) {
    loops.attention_forward(a, first, last);
    loops.attention_backward(a, first, last);
  }
  return {output.to(at::kDouble), gradient.to(at::kDouble)};
}

AttentionOutcome reference(const AttentionCase& c) {
  auto packed = c.packed.detach().clone();
  packed.requires_grad_(true);
  std::vector<at::Tensor> outputs;
  std::int64_t begin = 0;
  std::int64_t first_key = 0;
  for (const auto length : c.lengths) {
    const auto heads_of = [&](std::int64_t first, std::int64_t count, int part) {
      return packed.slice(0, first, first + count).view({count, 3, c.heads, c.size}).select(1, part).transpose(0, 1);
    };
    const std::int64_t keys = length + c.extra;
    const auto scores = at::matmul(heads_of(begin, length, 0), heads_of(first_key, keys, 1).transpose(1, 2)) /
                        std::sqrt(static_cast<double>(c.size));
    outputs.push_back(
        at::matmul(at::softmax(scores, 2), heads_of(first_key, keys, 2)).transpose(0, 1).reshape({length, c.hidden()}));
    begin += length;
    first_key += keys;
  }
  const auto output = at::cat(outputs);
  torch::autograd::backward({output}, {c.upstream});
  return {output.detach(), packed.grad()};
}

double difference(const at::Tensor& left, const at::Tensor& right) { return (left - right).abs().max().item<double>(); }

class Kernels : public testing::TestWithParam<InstructionSet> {
 protected:
  const InstructionSet& isa = GetParam();
};

TEST_P(Kernels, ComputeAttentionAndItsGradients) {
  at::manual_seed(1);
  std::vector<std::int64_t> lengths;
  for (std::int64_t length = 1; length <= 40; ++length) lengths.push_back(length);
  for (const auto length : {63, 64, 65, 127, 128, 129, 130}) lengths.push_back(length);
  for (const auto& [size, extra] : std::vector<std::pair<std::int64_t, std::int64_t>>{{16, 0},
                                                                                      {20, 0},
                                                                                      {32, 0},
                                                                                      {64, 0},
                                                                                      {1, 0},
                                                                                      {32, 5},
                                                                                      {20, 30},
                                                                                      {17, 0},
                                                                                      {33, 5},
                                                                                      {80, 0},
                                                                                      {128, 3},
                                                                                      {256, 0}}) {
    SCOPED_TRACE(size);
    const auto c = random_case(lengths, 2, size, 0, extra);
    const auto expected = reference(c);
    const auto exact = run(*isa.doubles, c, at::kDouble);
    EXPECT_LT(difference(exact.output, expected.output), 1e-13);
    EXPECT_LT(difference(exact.gradient, expected.gradient), 1e-13);
    const auto single = run(*isa.floats, c, at::kFloat);
    EXPECT_LT(difference(single.output, expected.output), 5e-6);
    EXPECT_LT(difference(single.gradient, expected.gradient), 2e-5);
    const auto brain = run(*isa.bfloat16s, c, at::kBFloat16);
    EXPECT_LT(difference(brain.output, expected.output), 0.05);
    EXPECT_LT(difference(brain.gradient, expected.gradient), 0.25);
  }
}

TEST_P(Kernels, KeepAttentionFiniteForScoresThatAreFarApart) {
  at::manual_seed(2);
  auto c = random_case({9, 17}, 2, 16, 0);
  c.packed *= 40;
  const auto expected = reference(c);
  const auto single = run(*isa.floats, c, at::kFloat);
  EXPECT_TRUE(at::isfinite(single.output).all().item<bool>());
  EXPECT_TRUE(at::isfinite(single.gradient).all().item<bool>());
  EXPECT_LT(difference(single.output, expected.output), 0.02);
}

TEST_P(Kernels, DropAttentionProbabilitiesAndKeepTheirScale) {
  at::manual_seed(3);
  // With the identity as value the output shows the probabilities that were kept.
  auto c = random_case({16, 11, 7}, 2, 16, 0);
  std::int64_t begin = 0;
  for (const auto length : c.lengths) {
    for (std::int64_t head = 0; head < c.heads; ++head) {
      c.packed.slice(0, begin, begin + length)
          .slice(1, 2 * c.hidden() + head * c.size, 2 * c.hidden() + (head + 1) * c.size)
          .copy_(at::eye(length, c.size, at::kDouble));
    }
    begin += length;
  }
  const auto whole = run(*isa.doubles, c, at::kDouble).output;
  c.dropout.probability = 0.25;
  const auto dropped = run(*isa.doubles, c, at::kDouble).output;
  const auto ratio = (dropped / whole).masked_select(whole > 0);
  const auto zero = ratio == 0;
  EXPECT_TRUE(at::logical_or(zero, (ratio - 4.0 / 3).abs() < 1e-12).all().item<bool>());
  EXPECT_NEAR(zero.to(at::kDouble).mean().item<double>(), 0.25, 0.06);
  // The same mask for every type and instruction set.
  EXPECT_LT(difference(run(*isa.floats, c, at::kFloat).output, dropped), 1e-6);
  EXPECT_LT(difference(run(*instruction_sets().front().doubles, c, at::kDouble).output, dropped), 1e-13);
  EXPECT_LT(difference(run(*isa.bfloat16s, c, at::kBFloat16).output, dropped), 0.02);
}

TEST_P(Kernels, ComputeAttentionOfBFloat16UnderDropoutAsOfDoubles) {
  at::manual_seed(9);
  // Of one row of blocks of any kernel, of several, and of an odd number of rows.
  for (const auto& [lengths, size, extra] :
       std::vector<std::tuple<std::vector<std::int64_t>, std::int64_t, std::int64_t>>{
           {{1, 2, 3, 8, 9, 15, 16, 17}, 32, 0},
           {{31, 32, 33, 47}, 64, 0},
           {{5, 64, 65, 100}, 20, 7},
           {{200, 3}, 40, 0}}) {
    SCOPED_TRACE(size);
    auto c = random_case(lengths, 2, size, 0.1, extra);
    c.packed = c.packed.to(at::kBFloat16).to(at::kDouble);
    c.upstream = c.upstream.to(at::kBFloat16).to(at::kDouble);
    const auto exact = run(*isa.doubles, c, at::kDouble);
    const auto brain = run(*isa.bfloat16s, c, at::kBFloat16);
    // A bfloat16 has 8 bits: one that is dropped instead of kept would differ by far more.
    const auto is_near = [](const at::Tensor& found, const at::Tensor& expected) {
      return difference(found, expected) < 0.012 * expected.abs().max().item<double>();
    };
    EXPECT_TRUE(is_near(brain.output, exact.output));
    EXPECT_TRUE(is_near(brain.gradient, exact.gradient));
  }
}

TEST_P(Kernels, DifferentiateAttentionUnderDropout) {
  at::manual_seed(4);
  for (const std::int64_t length : {1, 5, 33, 130}) {
    auto c = random_case({length, 3}, 2, 20, 0.3);
    const auto gradient = run(*isa.doubles, c, at::kDouble).gradient;
    const auto direction = at::randn_like(c.packed);
    constexpr double kStep = 1e-5;
    const auto loss_at = [&](double step) {
      auto moved = c;
      moved.packed = c.packed + step * direction;
      return (run(*isa.doubles, moved, at::kDouble).output * c.upstream).sum().item<double>();
    };
    const double slope = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
    EXPECT_NEAR((gradient * direction).sum().item<double>(), slope, 1e-7 * std::max(1.0, std::abs(slope))) << length;
  }
}

struct NormOutcome {
  at::Tensor output, input_gradient, residual_gradient, weight_gradient, bias_gradient;
};

struct NormCase {
  at::Tensor input, residual, weight, bias, upstream;
  Dropout dropout;
};

NormCase random_norm(std::int64_t columns, double share) {
  const auto draw = [](at::IntArrayRef shape) { return at::randn(shape, at::kDouble); };
  return {draw({7, columns}), draw({7, columns}), draw({columns}), draw({columns}), draw({7, columns}), {99, 3, share}};
}

template <typename Real, typename Stored>
NormOutcome run(const Loops<Real, Stored>& loops, const NormCase& c, at::ScalarType stored) {
  const auto real = std::is_same_v<Real, double> ? at::kDouble : at::kFloat;
  const auto input = c.input.to(stored);
  const auto residual = c.residual.to(real);
  const auto weight = c.weight.to(real);
  const auto bias = c.bias.to(real);
  const auto upstream = c.upstream.to(real);
  const std::int64_t rows = input.size(0);
  NormOutcome outcome{at::empty_like(upstream), at::empty_like(input), at::empty_like(upstream), at::zeros_like(weight),
                      at::zeros_like(weight)};
  const auto normalized = at::empty_like(upstream);
  const auto scale = at::empty({rows}, real);
  Norm<Real, Stored> n{};
  n.input = stored_data<Stored>(input);
  n.residual = residual.template const_data_ptr<Real>();
  n.weight = weight.template const_data_ptr<Real>();
  n.bias = bias.template const_data_ptr<Real>();
  n.columns = input.size(1);
  n.epsilon = static_cast<Real>(1e-5);
  n.dropout = c.dropout;
  n.output = outcome.output.template mutable_data_ptr<Real>();
  n.normalized = normalized.template mutable_data_ptr<Real>();
  n.scale = scale.template mutable_data_ptr<Real>();
  n.output_gradient = upstream.template const_data_ptr<Real>();
  n.input_gradient = mutable_stored_data<Stored>(outcome.input_gradient);
  n.residual_gradient = outcome.residual_gradient.template mutable_data_ptr<Real>();
  n.weight_gradient = outcome.weight_gradient.template mutable_data_ptr<Real>();
  n.bias_gradient = outcome.bias_gradient.template mutable_data_ptr<Real>();
  for (const auto& [first, last] : {std::pair(std::int64_t{0}, rows / 2), std::pair(rows / 2, rows)}) {
    loops.norm_forward(n, first, last);
    loops.norm_backward(n, first, last);
  }
  return {outcome.output.to(at::kDouble), outcome.input_gradient.to(at::kDouble),
          outcome.residual_gradient.to(at::kDouble), outcome.weight_gradient.to(at::kDouble),
          outcome.bias_gradient.to(at::kDouble)};
}

TEST_P(Kernels, ComputeTheNormOfASumAndItsGradients) {
  at::manual_seed(5);
  for (const std::int64_t columns : {1, 15, 16, 17, 40, 384, 391}) {
    SCOPED_TRACE(columns);
    const auto c = random_norm(columns, 0);
    std::vector<at::Tensor> leaves;
    for (const auto* tensor : {&c.input, &c.residual, &c.weight, &c.bias}) {
      leaves.push_back(tensor->detach().clone());
      leaves.back().requires_grad_(true);
    }
    const auto output = at::layer_norm(leaves[0] + leaves[1], {columns}, leaves[2], leaves[3], 1e-5);
    torch::autograd::backward({output}, {c.upstream});
    const auto compare = [&](const NormOutcome& outcome, double tolerance) {
      EXPECT_LT(difference(outcome.output, output.detach()), tolerance);
      EXPECT_LT(difference(outcome.input_gradient, leaves[0].grad()), tolerance);
      EXPECT_LT(difference(outcome.residual_gradient, leaves[1].grad()), tolerance);
      EXPECT_LT(difference(outcome.weight_gradient, leaves[2].grad()), tolerance);
      EXPECT_LT(difference(outcome.bias_gradient, leaves[3].grad()), tolerance);
    };
    compare(run(*isa.doubles, c, at::kDouble), 1e-12);
    compare(run(*isa.floats, c, at::kFloat), 1e-4);
    compare(run(*isa.bfloat16s, c, at::kBFloat16), columns == 1 ? 1 : 0.15);
  }
}

TEST_P(Kernels, DifferentiateTheNormUnderDropout) {
  at::manual_seed(6);
  const auto c = random_norm(200, 0.2);
  const auto outcome = run(*isa.doubles, c, at::kDouble);
  const auto input_direction = at::randn_like(c.input);
  const auto residual_direction = at::randn_like(c.residual);
  constexpr double kStep = 1e-5;
  const auto loss_at = [&](double step) {
    auto moved = c;
    moved.input = c.input + step * input_direction;
    moved.residual = c.residual + step * residual_direction;
    return (run(*isa.doubles, moved, at::kDouble).output * c.upstream).sum().item<double>();
  };
  const double slope = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
  const double derivative = (outcome.input_gradient * input_direction).sum().item<double>() +
                            (outcome.residual_gradient * residual_direction).sum().item<double>();
  EXPECT_NEAR(derivative, slope, 1e-7 * std::max(1.0, std::abs(slope)));
  EXPECT_NEAR((outcome.input_gradient == 0).to(at::kDouble).mean().item<double>(), 0.2, 0.05);
}

template <typename Real, typename Stored>
at::Tensor row_sums(const Loops<Real, Stored>& loops, const at::Tensor& rows, const std::vector<std::int64_t>* places,
                    const at::Tensor* before) {
  const auto real = std::is_same_v<Real, double> ? at::kDouble : at::kFloat;
  const std::int64_t columns = rows.size(1);
  const auto sums = before != nullptr ? before->to(real).clone() : at::full({columns}, 1e30, real);
  const RowSum<Real, Stored> sum{.rows = stored_data<Stored>(rows),
                                 .columns = columns,
                                 .places = places != nullptr ? places->data() : nullptr,
                                 .count = places != nullptr ? static_cast<std::int64_t>(places->size()) : rows.size(0),
                                 .adds = before != nullptr,
                                 .sums = sums.template mutable_data_ptr<Real>()};
  // In two pieces, as two threads would.
  loops.sum_rows(sum, 0, columns / 3);
  loops.sum_rows(sum, columns / 3, columns);
  return sums;
}

TEST_P(Kernels, SumRowsToTheLastBitOfAFloat) {
  at::manual_seed(7);
  const auto& plainest = instruction_sets().front();
  for (const std::int64_t columns : {1, 3, 31, 32, 100, 391}) {
    SCOPED_TRACE(columns);
    // Of one sign: nothing is lost but by adding.
    const auto rows = at::rand({5000, columns}, at::kDouble) + 1;
    const std::vector<std::int64_t> places{4999, 3, 3, 17};
    const auto chosen = rows.index_select(0, at::tensor(places));
    const auto before = at::randn({columns}, at::kDouble);
    EXPECT_LT(difference(row_sums(*isa.doubles, rows, nullptr, nullptr) / rows.sum(0), at::ones({columns})), 1e-12);
    for (const auto stored : {at::kFloat, at::kBFloat16}) {
      const auto narrow = rows.to(stored);
      const auto sums = [&](const InstructionSet& set, const std::vector<std::int64_t>* at, const at::Tensor* to) {
        return stored == at::kFloat ? row_sums(*set.floats, narrow, at, to) : row_sums(*set.bfloat16s, narrow, at, to);
      };
      const auto exact = narrow.to(at::kDouble);
      EXPECT_TRUE(at::equal(sums(isa, nullptr, nullptr), exact.sum(0).to(at::kFloat)));
      EXPECT_LT(difference(sums(isa, &places, &before), before + exact.index_select(0, at::tensor(places)).sum(0)),
                1e-6);
      EXPECT_TRUE(at::equal(sums(isa, &places, &before), sums(plainest, &places, &before)));
    }
  }
}

TEST_P(Kernels, SumSquaresAsExactlyAsADouble) {
  at::manual_seed(8);
  for (const std::int64_t count : {0, 1, 31, 32, 33, 1000, 100'003}) {
    const auto values = at::randn({count}, at::kDouble);
    const double expected = values.square().sum().item<double>();
    EXPECT_NEAR(isa.doubles->sum_of_squares(values.const_data_ptr<double>(), count), expected, 1e-12 * expected);
    const auto single = values.to(at::kFloat);
    const double sum = isa.floats->sum_of_squares(single.const_data_ptr<float>(), count);
    EXPECT_NEAR(sum, single.to(at::kDouble).square().sum().item<double>(), 1e-12 * expected);
    EXPECT_EQ(sum, instruction_sets().front().floats->sum_of_squares(single.const_data_ptr<float>(), count))
        << "the same bits with every instruction set";
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, Kernels, testing::ValuesIn(instruction_sets()),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(Dispatch, ChoosesTheLastOfTheSetsThatThisMachineHas) {
  EXPECT_EQ(loops<float>().attention_forward, instruction_sets().back().floats->attention_forward);
  EXPECT_EQ(loops<double>().norm_backward, instruction_sets().back().doubles->norm_backward);
}

}  // namespace
}  // namespace dtrain::model::kernels
