// What backward gives for each method is what the loss does, in double and under the method's own dropout.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "peft/registry.h"
#include "tests/model/reference_case.h"
#include "tests/peft/small_specs.h"

namespace dtrain::peft {
namespace {

using model::Pooling;

// Settings with dropout of the method's own and with what else has a gradient of another shape. Not constrained OFT,
// which by definition leaves a part of the derivative out.
std::vector<std::string> specs() {
  std::vector<std::string> all = {
      "lora:lora_dropout=0.2:lora_alpha=3:target_modules=all-linear:bias=all",
      "lora:r=4:lora_bias=true:use_rslora=true:modules_to_save=intermediate.dense",
      "lora:use_dora=true:lora_dropout=0.2:lora_alpha=3:target_modules=query+output.dense:bias=all",
      "lora:init_lora_weights=pissa:r=4",
      "lora:init_lora_weights=pissa_niter_4:r=4",
      "lora:init_lora_weights=orthogonal",
      "lora:init_lora_weights=false:rank_pattern=query~3+layer.1.attention.self.value~5",
      "loha:r=3:rank_dropout=0.3:module_dropout=0.2:target_modules=query+output.dense",
      "lokr:r=2:rank_dropout=0.3:rank_dropout_scale=true:module_dropout=0.2:target_modules=all-linear",
      "lokr:r=1:decompose_both=true:rank_dropout=0.3",
      "vera:r=7:vera_dropout=0.2:bias=vera_only:target_modules=value+intermediate.dense+output.dense",
      "oft:oft_block_size=8:use_cayley_neumann=false:target_modules=all-linear:bias=oft_only",
      "oft:r=8:oft_block_size=0:block_share=true:num_cayley_neumann_terms=7",
      "hra:r=5:apply_GS=true:bias=hra_only:target_modules=all-linear",
      "boft:boft_n_butterfly_factor=3:boft_dropout=0.3:bias=boft_only",
      "randlora:r=9:randlora_dropout=0.2:sparse=true:randlora_alpha=20:target_modules=all-linear:bias=randlora_only",
      "fourierft:n_frequency=70:target_modules=query+output.dense:bias=fourier_only",
      "bitfit:bias_terms=query+intermediate.dense",
      "ia3:init_ia3_weights=false:target_modules=all-linear:feedforward_modules=query+output.dense",
      "prefix:num_virtual_tokens=3:prefix_projection=true:encoder_hidden_size=5",
      "prompt:num_virtual_tokens=3:prompt_tuning_init=SAMPLE_VOCAB",
      "p-tuning:num_virtual_tokens=4:encoder_reparameterization_type=LSTM:encoder_hidden_size=6:encoder_dropout=0.3",
      "adalora:lora_dropout=0.2:init_r=4:target_r=2:target_modules=all-linear:bias=lora_only",
      "houlsby:dropout=0.2:non_linearity=gelu:ln_before=true:ln_after=true:scaling=learned:use_gating=true",
      "pfeiffer:dropout=0.3:residual_before_ln=false:scaling=0.5:mh_adapter=true",
      "parallel:dropout=0.2:use_gating=true:scaling=channel",
      "compacter:dropout=0.2:reduction_factor=4:phm_rank=2:factorized_phm_rule=true",
      "mam:dropout=0.2:prefix_length=3:bottleneck_size=7",
      "unipelt:dropout=0.2:prefix_length=3:bottleneck_size=7",
  };
  for (const MethodKind& kind : method_kinds()) all.push_back(small_spec(kind.name));
  return all;
}

/// Few examples, so that each of the many losses costs little.
model::TokenBatch short_batch() {
  const auto offsets = at::tensor(std::vector<std::int64_t>{0, 5, 6, 15, 18});
  std::vector<std::int64_t> types, positions;
  for (std::int64_t example = 0; example < 4; ++example) {
    const std::int64_t length = (offsets[example + 1] - offsets[example]).item<std::int64_t>();
    for (std::int64_t position = 0; position < length; ++position) {
      positions.push_back(position);
      types.push_back(2 * position >= length ? 1 : 0);
    }
  }
  return model::on_test_device(
      {(at::arange(18) * 31 + 7) % 97 + 1, at::tensor(types), at::tensor(positions), offsets, 9});
}

class MethodGradient : public testing::TestWithParam<std::string> {
 protected:
  /// With the method, away from a start at which half of it has no gradient.
  std::unique_ptr<model::Classifier> start(at::ScalarType type) const {
    auto classifier = model::ReferenceCase("new_gelu").load(Pooling::pooler, type);
    make_method(parse_method_spec(GetParam()))->attach(*classifier, {});
    at::manual_seed(8);
    for (const auto& [name, parameter] : trained_parameters(*classifier)) {
      const auto noise = at::randn(parameter->shape(), at::kDouble).to(parameter->value().options());
      parameter->set_value(parameter->value() + 0.05 * noise);
    }
    model::bind_gradients(*classifier);
    return classifier;
  }

  double loss(model::Classifier& classifier) const {
    return model::backward_of_loss(classifier, batch, labels, with_dropout(classifier));
  }

  static model::ForwardContext with_dropout(model::Classifier& classifier) {
    return model::ForwardContext({3, 1, 4}, classifier.first_trainable_stage());
  }

  const model::TokenBatch batch = short_batch();
  const at::Tensor labels = at::tensor(std::vector<std::int64_t>{2, 0, 4, 1}).to(model::test_device());
};

TEST_P(MethodGradient, IsThatOfTheLoss) {
  const auto classifier = start(at::kDouble);
  loss(*classifier);
  // DoRA leaves out how A and B change the lengths of rows (lora_slot_test.cpp).
  const bool holds_lengths = GetParam().find("use_dora=true") != std::string::npos;
  std::map<const model::Parameter*, at::Tensor> gradients;
  for (const auto& [name, parameter] : trained_parameters(*classifier)) {
    gradients[parameter] = parameter->gradient().clone();
  }
  for (const auto& [name, parameter] : trained_parameters(*classifier)) {
    if (holds_lengths && (name.ends_with("lora_A.weight") || name.ends_with("lora_B.weight"))) continue;
    const auto value = parameter->value();
    const auto noise = at::randn_like(value);
    const auto direction = noise / noise.norm();
    constexpr double kStep = 1e-6;
    parameter->set_value(value + kStep * direction);
    const double above = loss(*classifier);
    parameter->set_value(value - kStep * direction);
    const double below = loss(*classifier);
    parameter->set_value(value);
    const double expected = (above - below) / (2 * kStep);
    EXPECT_NEAR((gradients[parameter] * direction).sum().item<double>(), expected,
                1e-7 * std::max(1.0, std::abs(expected)))
        << name;
  }
}

TEST_P(MethodGradient, IsNearlyTheSameWithMatmulsInBfloat16) {
  std::vector<at::Tensor> gradients;
  for (const auto matmul_type : {at::kFloat, at::kBFloat16}) {
    const auto classifier = start(at::kFloat);
    // On a GPU the masks depend on the type of what they are for.
    auto context = batch.ids.is_cpu() ? with_dropout(*classifier) : model::ForwardContext();
    context.matmul_type = matmul_type;
    model::backward_of_loss(*classifier, batch, labels, context);
    std::vector<at::Tensor> parts;
    for (const auto& [name, parameter] : trained_parameters(*classifier)) {
      parts.push_back(parameter->gradient().flatten());
    }
    gradients.push_back(at::cat(parts));
  }
  const double difference = at::linalg_vector_norm(gradients[1] - gradients[0]).item<double>();
  const double length = at::linalg_vector_norm(gradients[0]).item<double>();
  EXPECT_LT(difference, 0.15 * length);
  EXPECT_GT(difference, 0);
}

INSTANTIATE_TEST_SUITE_P(Methods, MethodGradient, testing::ValuesIn(specs()), [](const auto& instance) {
  std::string name = instance.param;
  for (char& character : name) {
    if (std::isalnum(static_cast<unsigned char>(character)) == 0) character = '_';
  }
  return name;
});

}  // namespace
}  // namespace dtrain::peft
