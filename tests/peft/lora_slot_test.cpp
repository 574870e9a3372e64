// DoRA under dropout, beside the dense matrices that it stands for.

#include "peft/parts/lora_slot.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <vector>

#include "model/dropout.h"
#include "tests/model/reference_case.h"

namespace dtrain::peft {
namespace {

constexpr std::int64_t kIn = 12;
constexpr std::int64_t kOut = 9;
constexpr double kScale = 1.5;

class DoraSlot : public testing::TestWithParam<double> {};

// W x + b + (diag(m / |W + s B A|) (W + s B A) - W) dropout(x), whose lengths are held fixed in backward: PEFT's DoRA.
TEST_P(DoraSlot, IsTheDenseFormulaUnderTheSameMask) {
  auto generator = at::detail::createCPUGenerator(5);
  const auto normal = [&](at::IntArrayRef shape) { return at::randn(shape, generator, at::kDouble); };
  model::Linear base("map", kIn, kOut);
  base.weight.set_value(normal({kOut, kIn}));
  base.bias.set_value(normal({kOut}));
  LoraSlot slot(base, {.r = 3, .scale = kScale, .dropout = GetParam(), .dora = true}, generator);
  const auto parameters = slot.parameters();
  std::vector<at::Tensor> leaves;
  for (model::Parameter* parameter : parameters) {
    parameter->bind(parameter->value() + 0.3 * normal(parameter->shape()),
                    at::full(parameter->shape(), 1e30, at::kDouble));
    parameter->begin_step();
    leaves.push_back(parameter->value().clone().requires_grad_());
  }
  const auto input = normal({20, kIn}).requires_grad_();
  const auto same_input = input.detach().clone().requires_grad_();
  const auto probe = normal({20, kOut});

  const model::DropoutStream stream{3, 1, 4};
  model::ForwardContext context(stream, 0);
  const auto output = slot.forward(base, input, context);
  (output * probe).sum().backward();

  model::ForwardContext same_context(stream, 0);
  const auto dropped = model::dropout(same_input, same_context.next_dropout(GetParam()));
  const auto& weight = base.weight.value();
  const auto updated = weight + kScale * at::mm(leaves[1], leaves[0]);
  const auto gain = leaves[2] / at::linalg_vector_norm(updated.detach(), 2, at::IntArrayRef{1});
  const auto change = gain.unsqueeze(1) * updated - weight;
  const auto expected = at::linear(same_input, weight, base.bias.value()) + at::linear(dropped, change);
  (expected * probe).sum().backward();

  EXPECT_LT(model::largest_difference(output, expected), 1e-12);
  EXPECT_LT(model::largest_difference(input.grad(), same_input.grad()), 1e-12);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    EXPECT_LT(model::largest_difference(parameters[i]->gradient(), leaves[i].grad()), 1e-12) << parameters[i]->name();
  }
}

INSTANTIATE_TEST_SUITE_P(Dropout, DoraSlot, testing::Values(0.0, 0.4),
                         [](const auto& instance) { return instance.param > 0 ? "on" : "off"; });

}  // namespace
}  // namespace dtrain::peft
