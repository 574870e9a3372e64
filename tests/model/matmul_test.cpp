#include "model/matmul.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace dtrain::model {
namespace {

double largest_difference(const at::Tensor& result, const at::Tensor& expected) {
  return (result.to(at::kDouble) - expected).abs().max().item<double>();
}

// Few rows and many: another library may take the many (matmul.cpp).
class Matmul : public testing::TestWithParam<std::int64_t> {
 protected:
  void SetUp() override { at::manual_seed(1); }
  at::Tensor input_ = at::randn({GetParam(), 48}, at::kFloat);
};

TEST_P(Matmul, OfALinearLayerIsThatOfDoubles) {
  const auto weight = at::randn({80, 48}, at::kFloat);
  const auto bias = at::randn({80}, at::kFloat);
  const auto expected = at::mm(input_.to(at::kDouble), weight.to(at::kDouble).t());
  EXPECT_LT(largest_difference(linear_matmul(input_, weight), expected), 1e-4);
  EXPECT_LT(largest_difference(linear_matmul(input_, weight, bias), expected + bias), 1e-4);
  EXPECT_EQ(linear_matmul(input_.to(at::kBFloat16), weight.to(at::kBFloat16)).scalar_type(), at::kBFloat16);
}

TEST_P(Matmul, OfAnInputGradientIsThatOfDoubles) {
  const auto weight = at::randn({48, 80}, at::kFloat);
  const auto expected = at::mm(input_.to(at::kDouble), weight.to(at::kDouble));
  EXPECT_LT(largest_difference(linear_input_gradient(input_, weight), expected), 1e-4);
  // A slice of a larger weight, as a gradient may be multiplied with.
  const auto wide = at::randn({48, 100}, at::kFloat);
  const auto slice = wide.slice(1, 0, 80);
  EXPECT_LT(
      largest_difference(linear_input_gradient(input_, slice), at::mm(input_.to(at::kDouble), slice.to(at::kDouble))),
      1e-4);
}

INSTANTIATE_TEST_SUITE_P(Rows, Matmul, testing::Values(1, 17, 1023, 1024, 3000));

}  // namespace
}  // namespace dtrain::model
