#include "study/states/representation.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

namespace dtrain::study {
namespace {

at::Tensor centred(const at::Tensor& states) {
  const auto exact = states.to(at::kDouble);
  return exact - exact.mean(0, /*keepdim=*/true);
}

at::Tensor of_unit_length(const at::Tensor& states) {
  const auto exact = states.to(at::kDouble);
  return exact / exact.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
}

// Ranks from 1, of equal values their mean.
at::Tensor mean_ranks(const at::Tensor& values) {
  const auto [sorted, order] = values.sort(/*stable=*/true, /*dim=*/0, /*descending=*/false);
  static_cast<void>(order);
  const auto below = at::searchsorted(sorted, values, /*out_int32=*/false, /*right=*/false);
  const auto upto = at::searchsorted(sorted, values, /*out_int32=*/false, /*right=*/true);
  return (below + upto + 1).to(at::kDouble) / 2;
}

}  // namespace

double linear_cka(const at::Tensor& first, const at::Tensor& second) {
  const at::NoGradGuard no_grad;
  const auto x = centred(first);
  const auto y = centred(second);
  const auto square = [](const at::Tensor& left, const at::Tensor& right) {
    return left.t().mm(right).square().sum().item<double>();
  };
  return square(y, x) / std::sqrt(square(x, x) * square(y, y));
}

at::Tensor pair_similarities(const at::Tensor& states) {
  const at::NoGradGuard no_grad;
  const auto rows = of_unit_length(states);
  const auto all = rows.mm(rows.t());
  const auto pairs = at::triu_indices(rows.size(0), rows.size(0), 1);
  return all.index({pairs[0], pairs[1]});
}

double spearman(const at::Tensor& first, const at::Tensor& second) {
  const at::NoGradGuard no_grad;
  const auto x = centred(mean_ranks(first.contiguous()));
  const auto y = centred(mean_ranks(second.contiguous()));
  return (x * y).sum().item<double>() / std::sqrt(x.square().sum().item<double>() * y.square().sum().item<double>());
}

double mean_reciprocal_rank(const at::Tensor& queries, const at::Tensor& answers) {
  const at::NoGradGuard no_grad;
  const auto similarities = of_unit_length(queries).mm(of_unit_length(answers).t());
  const auto right = similarities.diagonal().unsqueeze(1);
  return (similarities >= right).sum(1).to(at::kDouble).reciprocal().mean().item<double>();
}

}  // namespace dtrain::study
