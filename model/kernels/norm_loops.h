#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "model/kernels/loops.h"
#include "model/kernels/random_loops.h"
#include "model/kernels/stored_loops.h"

// Part of loops.cpp, compiled once for each instruction set.
namespace dtrain::model::kernels::DTRAIN_ISA {
namespace {

// Rows of a [rows, columns] matrix begin at a multiple of the block of random numbers.
inline std::uint64_t matrix_element(std::int64_t row, std::int64_t columns) {
  return static_cast<std::uint64_t>(row * keep_width(columns));
}

template <typename Real, typename Stored>
void norm_forward(const Norm<Real, Stored>& n, std::int64_t first_row, std::int64_t last_row) {
  Scratch<Real> scratch(2 * keep_width(n.columns));
  Real* sums = scratch.take(keep_width(n.columns));
  Real* keep = scratch.take(keep_width(n.columns));
  for (std::int64_t row = first_row; row < last_row; ++row) {
    const Stored* input = n.input + row * n.columns;
    const Real* residual = n.residual == nullptr ? nullptr : n.residual + row * n.columns;
    if (n.dropout.probability > 0) {
      for (std::int64_t c = 0; c < n.columns; c += kKeepBlock) {
        keep_factors(n.dropout, matrix_element(row, n.columns) + static_cast<std::uint64_t>(c), keep + c);
      }
#pragma omp simd
      for (std::int64_t c = 0; c < n.columns; ++c) sums[c] = widened(input[c]) * keep[c];
    } else {
      widen(input, n.columns, sums);
    }
    if (residual != nullptr) {
#pragma omp simd
      for (std::int64_t c = 0; c < n.columns; ++c) sums[c] += residual[c];
    }
    Real mean = 0;
#pragma omp simd reduction(+ : mean)
    for (std::int64_t c = 0; c < n.columns; ++c) mean += sums[c];
    mean /= static_cast<Real>(n.columns);
    Real variance = 0;
#pragma omp simd reduction(+ : variance)
    for (std::int64_t c = 0; c < n.columns; ++c) variance += (sums[c] - mean) * (sums[c] - mean);
    const Real scale = 1 / std::sqrt(variance / static_cast<Real>(n.columns) + n.epsilon);
    Real* __restrict output = n.output + row * n.columns;
    if (n.normalized != nullptr) {
      Real* __restrict normalized = n.normalized + row * n.columns;
      n.scale[row] = scale;
#pragma omp simd
      for (std::int64_t c = 0; c < n.columns; ++c) {
        normalized[c] = (sums[c] - mean) * scale;
        output[c] = normalized[c] * n.weight[c] + n.bias[c];
      }
    } else {
#pragma omp simd
      for (std::int64_t c = 0; c < n.columns; ++c) output[c] = (sums[c] - mean) * scale * n.weight[c] + n.bias[c];
    }
  }
}

template <typename Real, typename Stored>
void norm_backward(const Norm<Real, Stored>& n, std::int64_t first_row, std::int64_t last_row) {
  Scratch<Real> scratch(2 * keep_width(n.columns));
  Real* sums = scratch.take(keep_width(n.columns));
  Real* keep = scratch.take(keep_width(n.columns));
  for (std::int64_t row = first_row; row < last_row; ++row) {
    const Real* __restrict upstream = n.output_gradient + row * n.columns;
    const Real* __restrict normalized = n.normalized + row * n.columns;
    if (n.weight_gradient != nullptr) {
#pragma omp simd
      for (std::int64_t c = 0; c < n.columns; ++c) n.weight_gradient[c] += upstream[c] * normalized[c];
    }
    if (n.bias_gradient != nullptr) {
#pragma omp simd
      for (std::int64_t c = 0; c < n.columns; ++c) n.bias_gradient[c] += upstream[c];
    }
    if (n.input_gradient == nullptr && n.residual_gradient == nullptr) continue;
    Real mean = 0;
    Real product = 0;
#pragma omp simd reduction(+ : mean, product)
    for (std::int64_t c = 0; c < n.columns; ++c) {
      sums[c] = upstream[c] * n.weight[c];
      mean += sums[c];
      product += sums[c] * normalized[c];
    }
    mean /= static_cast<Real>(n.columns);
    product /= static_cast<Real>(n.columns);
    const Real scale = n.scale[row];
#pragma omp simd
    for (std::int64_t c = 0; c < n.columns; ++c) sums[c] = (sums[c] - mean - normalized[c] * product) * scale;
    if (n.residual_gradient != nullptr) std::copy_n(sums, n.columns, n.residual_gradient + row * n.columns);
    if (n.input_gradient == nullptr) continue;
    Stored* __restrict gradient = n.input_gradient + row * n.columns;
    if (n.dropout.probability > 0) {
      for (std::int64_t c = 0; c < n.columns; c += kKeepBlock) {
        keep_factors(n.dropout, matrix_element(row, n.columns) + static_cast<std::uint64_t>(c), keep + c);
      }
#pragma omp simd
      for (std::int64_t c = 0; c < n.columns; ++c) store(sums[c] * keep[c], gradient[c]);
    } else {
      narrow(sums, n.columns, gradient);
    }
  }
}

}  // namespace
}  // namespace dtrain::model::kernels::DTRAIN_ISA
