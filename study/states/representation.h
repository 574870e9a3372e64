#pragma once

#include <ATen/core/Tensor.h>

/// How alike two models see the same examples: each row of `first` and `second` [examples, features] is one example.
namespace dtrain::study {

/// Linear centred kernel alignment (Kornblith et al., 2019): 1 where the two differ by a rotation and a scale at most,
/// near 0 where they have nothing in common. Computed in double; NaN where either is constant.
double linear_cka(const at::Tensor& first, const at::Tensor& second);

/// Cosines of every pair of rows [examples * (examples - 1) / 2] double, the pairs in the order of the upper triangle.
at::Tensor pair_similarities(const at::Tensor& states);

/// Spearman's rank correlation of two vectors, equal values at the mean of their ranks; NaN where either is constant.
double spearman(const at::Tensor& first, const at::Tensor& second);

/// Mean reciprocal rank by cosine: row i of `queries` looks for row i of `answers` among all of them. Answers that are
/// as near as the right one count as nearer, so that a constant model gains nothing.
double mean_reciprocal_rank(const at::Tensor& queries, const at::Tensor& answers);

}  // namespace dtrain::study
