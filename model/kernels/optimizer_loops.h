#pragma once

#include <cmath>
#include <cstdint>

#include "model/kernels/loops.h"
#include "model/kernels/stored_loops.h"

// The optimiser's step. Part of loops.cpp, compiled once for each instruction set.
namespace dtrain::model::kernels::DTRAIN_ISA {
namespace {

// The step by value: of a reference GCC would read the factors anew after each store, and vectorise nothing.
template <bool kCopies, typename Real, typename Stored>
void adamw_stretch(const AdamWStep<Real, Stored> s, std::int64_t first, std::int64_t last) {
  Real* __restrict values = s.values;
  const Real* __restrict gradients = s.gradients;
  Real* __restrict first_moments = s.first_moments;
  Real* __restrict second_moments = s.second_moments;
  Stored* __restrict copies = s.copies;
#pragma omp simd
  for (std::int64_t i = first; i < last; ++i) {
    const Real gradient = gradients[i] * s.gradient_factor;
    const Real mean = first_moments[i] + (gradient - first_moments[i]) * s.rest1;
    const Real square = second_moments[i] * s.beta2 + gradient * gradient * s.rest2;
    const Real value = values[i] * s.decay - s.step_size * (mean / (std::sqrt(square) / s.root + s.epsilon));
    first_moments[i] = mean;
    second_moments[i] = square;
    values[i] = value;
    if constexpr (kCopies) store(value, copies[i]);
  }
}

template <typename Real, typename Stored>
void adamw(const AdamWStep<Real, Stored>& step, std::int64_t first, std::int64_t last) {
  if (step.copies == nullptr) {
    adamw_stretch<false>(step, first, last);
  } else {
    adamw_stretch<true>(step, first, last);
  }
}

template <typename Real>
void scale(Real* values, Real factor, std::int64_t count) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) values[i] *= factor;
}

}  // namespace
}  // namespace dtrain::model::kernels::DTRAIN_ISA
