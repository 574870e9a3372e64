#include "model/matmul.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string_view>

namespace dtrain::model {
namespace {

// From there on oneDNN was faster in every shape measured, from fewer rows on where each has many outputs
// (docs/performance.md).
constexpr std::int64_t kManyRows = 1024;
constexpr std::int64_t kSomeRows = 400;
constexpr std::int64_t kManyOutputs = 768;

bool takes_onednn(const at::Tensor& input, const at::Tensor& weight, std::int64_t outputs) {
  static const bool is_foreign_to_mkl = !__builtin_cpu_is("intel") && at::globalContext().hasMKLDNN();
  if (!is_foreign_to_mkl || !input.is_cpu() || input.scalar_type() != at::kFloat || weight.scalar_type() != at::kFloat)
    return false;
  const std::int64_t rows = input.size(0);
  return rows >= kManyRows || (rows >= kSomeRows && outputs >= kManyOutputs);
}

// LibTorch multiplies bfloat16 by oneDNN where there is AVX-512. Its own call for a linear layer was faster there in
// every shape measured (docs/performance.md): addmm writes the bias first and adds the matmul to that.
bool takes_onednn_with_bias(const at::Tensor& input) {
  static const bool is_onednn_for_bfloat16 = at::globalContext().hasMKLDNN() && __builtin_cpu_supports("avx512bw") &&
                                             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return is_onednn_for_bfloat16 && input.is_cpu() && input.scalar_type() == at::kBFloat16;
}

// torch.nn.functional.linear by oneDNN, of a weight in any layout; LibTorch calls it for compiled models.
at::Tensor onednn_linear(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias) {
  using Linear = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view,
                            c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);
  static const auto linear =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<Linear>();
  return linear.call(input, weight, bias.defined() ? std::optional(bias) : std::nullopt, "none",
                     c10::List<std::optional<at::Scalar>>(), "");
}

}  // namespace

at::Tensor matmul(const at::Tensor& left, const at::Tensor& right, ForwardContext& context) {
  context.count_matmuls(left, right);
  return at::matmul(left, right);
}

at::Tensor linear_matmul(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias) {
  if (takes_onednn(input, weight, weight.size(0)) || (bias.defined() && takes_onednn_with_bias(input)))
    return onednn_linear(input, weight, bias);
  return bias.defined() ? at::addmm(bias, input, weight.t()) : at::mm(input, weight.t());
}

at::Tensor linear_input_gradient(const at::Tensor& gradient, const at::Tensor& weight) {
  return takes_onednn(gradient, weight, weight.size(1)) ? onednn_linear(gradient, weight.t(), {})
                                                        : at::mm(gradient, weight);
}

}  // namespace dtrain::model
