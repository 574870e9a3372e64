#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "peft/registry.h"
#include "tests/model/reference_case.h"

namespace dtrain::peft {
namespace {

at::Tensor block_diagonal(const at::Tensor& blocks) { return at::block_diag(blocks.unbind(0)); }

// More rotations than one, which PEFT computes on a GPU only: the dense matrices of the paper, with PEFT's
// permutations.
TEST(Boft, MultipliesByShuffledRotationsOneAfterTheOther) {
  const at::NoGradGuard no_grad;
  const auto classifier = model::ReferenceCase("new_gelu").load(model::Pooling::mean, at::kDouble);
  make_method(parse_method_spec("boft:boft_n_butterfly_factor=3:init_weights=false"))->attach(*classifier, {.seed = 2});
  model::Linear& linear = classifier->encoder().layer(0).query;
  const auto parameters = linear.slot->parameters();
  const auto& matrices = parameters[0]->value();
  const auto& scales = parameters[1]->value();
  ASSERT_EQ(matrices.sizes(), (at::IntArrayRef{3, 16, 4, 4}));
  const auto orders =
      model::SafetensorsFile(model::reference_directory() / "butterfly_orders.safetensors").tensor("orders");
  const auto identity = at::eye(64, at::kDouble);
  auto rotation = identity;
  for (std::int64_t factor = 0; factor < 3; ++factor) {
    const auto skew = block_diagonal(0.5 * (matrices[factor] - matrices[factor].transpose(1, 2)));
    const auto blocks = at::mm(identity - skew, at::inverse(identity + skew));
    const auto order = identity.index_select(0, orders[factor]);
    rotation = order.mm(blocks).mm(order.t()).mm(rotation);
  }
  at::manual_seed(4);
  const auto input = at::randn({5, 64}, at::kDouble);
  const auto expected = input.mm(rotation).mm(linear.weight.value().t()) * scales.view({-1}) + linear.bias.value();
  model::ForwardContext context;
  EXPECT_LT(model::largest_difference(linear.forward(input, context), expected), 1e-12);
  EXPECT_GT(model::largest_difference(rotation, block_diagonal(matrices[0])), 0.1);
}

}  // namespace
}  // namespace dtrain::peft
