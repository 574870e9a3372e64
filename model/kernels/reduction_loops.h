#pragma once

#include <cstdint>

#include "model/kernels/loops.h"
#include "model/kernels/stored_loops.h"

// Long sums, in double. Part of loops.cpp, compiled once for each instruction set.
namespace dtrain::model::kernels::DTRAIN_ISA {
namespace {

// Sums that are kept side by side: as many as hide the latency of an addition, whatever the width of a register.
constexpr std::int64_t kSums = 32;

// Four numbers from memory as doubles. Written out, GCC converts floats in one instruction, which it does not for its
// own __builtin_convertvector.
typedef double FourDoubles __attribute__((vector_size(32)));

template <typename Stored>
inline FourDoubles four_doubles(const Stored* from) {
  return FourDoubles{static_cast<double>(widened(from[0])), static_cast<double>(widened(from[1])),
                     static_cast<double>(widened(from[2])), static_cast<double>(widened(from[3]))};
}

template <typename Real, typename Stored>
void sum_rows(const RowSum<Real, Stored>& s, std::int64_t first_column, std::int64_t last_column) {
  const auto row = [&](std::int64_t r) { return s.rows + (s.places == nullptr ? r : s.places[r]) * s.columns; };
  const auto keep = [&](std::int64_t c, double sum) {
    s.sums[c] = static_cast<Real>(s.adds ? static_cast<double>(s.sums[c]) + sum : sum);
  };
  std::int64_t c = first_column;
  for (; c + kSums <= last_column; c += kSums) {
    FourDoubles sums[kSums / 4] = {};
    for (std::int64_t r = 0; r < s.count; ++r) {
      const Stored* values = row(r) + c;
#pragma GCC unroll 8
      for (std::int64_t i = 0; i < kSums / 4; ++i) sums[i] += four_doubles(values + 4 * i);
    }
    for (std::int64_t i = 0; i < kSums; ++i) keep(c + i, sums[i / 4][i % 4]);
  }
  for (; c < last_column; ++c) {
    double sum = 0;
    for (std::int64_t r = 0; r < s.count; ++r) sum += static_cast<double>(widened(row(r)[c]));
    keep(c, sum);
  }
}

// The square of a float is exact in double: fused multiplication and addition changes no bit.
template <typename Real>
double sum_of_squares(const Real* values, std::int64_t count) {
  FourDoubles sums[kSums / 4] = {};
  std::int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
#pragma GCC unroll 8
    for (std::int64_t lane = 0; lane < kSums / 4; ++lane) {
      const FourDoubles value = four_doubles(values + i + 4 * lane);
      sums[lane] += value * value;
    }
  }
  double sum = 0;
  for (; i < count; ++i) sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  for (std::int64_t lane = 0; lane < kSums; ++lane) sum += sums[lane / 4][lane % 4];
  return sum;
}

}  // namespace
}  // namespace dtrain::model::kernels::DTRAIN_ISA
