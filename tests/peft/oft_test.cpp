#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "peft/registry.h"
#include "tests/model/reference_case.h"

namespace dtrain::peft {
namespace {

TEST(ConstrainedOft, BringsTheMatricesBackWithinTheirBoundAfterAStepWhichChangesNothing) {
  const at::NoGradGuard no_grad;
  const model::ReferenceCase reference("new_gelu");
  const auto classifier = reference.load(model::Pooling::mean, at::kDouble);
  const auto method = make_method(parse_method_spec("oft:oft_block_size=16:coft=true:eps=0.2"));
  method->attach(*classifier, {});
  at::manual_seed(5);
  const auto vectors = classifier->encoder().layer(1).value.slot->parameters().front();
  // One matrix within the bound, .1, three outside.
  const auto wanted = at::tensor(std::vector<double>{0.05, 0.2, 1, 5}).unsqueeze(1);
  const auto directions = at::randn(vectors->shape(), at::kDouble);
  vectors->set_value(wanted / std::sqrt(2.0) * directions / at::linalg_vector_norm(directions, 2, {1}, true));
  const auto logits = [&] {
    model::ForwardContext context;
    return classifier->forward(reference.batch(), context);
  };
  const auto before = vectors->value().clone();
  const auto expected = logits();
  EXPECT_TRUE(at::equal(vectors->value(), before));

  const auto hooks = method->start_training_hooks(*classifier, 10);
  ASSERT_NE(hooks, nullptr);
  EXPECT_FALSE(hooks->loss_term().defined());
  hooks->after_step(0);
  EXPECT_LT(model::largest_difference(logits(), expected), 1e-12);
  // The Frobenius norm of a matrix that has each element of the vector twice.
  const auto norms = std::sqrt(2.0) * at::linalg_vector_norm(vectors->value(), 2, {1});
  const auto bounded = at::tensor(std::vector<double>{0.05, 0.1, 0.1, 0.1});
  EXPECT_LT(model::largest_difference(norms, bounded), 1e-12);
  EXPECT_TRUE(at::equal(vectors->value()[0], before[0]));

  EXPECT_EQ(make_method(parse_method_spec("oft"))->start_training_hooks(*classifier, 10), nullptr);
}

}  // namespace
}  // namespace dtrain::peft
