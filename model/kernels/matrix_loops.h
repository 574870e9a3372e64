#pragma once

#include <cstdint>
#include <cstring>

#include "model/kernels/stored_loops.h"

// Small products of rows, a few at a time. Part of loops.cpp, compiled once for each instruction set.
namespace dtrain::model::kernels::DTRAIN_ISA {
namespace {

// Widest vector in floats; rows of scratch are padded to it, so that the loops over them have no tail.
constexpr std::int64_t kLanes = 16;
// Rows that are computed together, so that what is loaded once serves all of them.
constexpr int kRows = 4;

constexpr std::int64_t padded(std::int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

// kLanes numbers side by side.
template <typename Real>
struct VectorOf {
  typedef Real Type __attribute__((vector_size(kLanes * sizeof(Real))));
};
template <typename Real>
using Vector = typename VectorOf<Real>::Type;

template <typename Real>
inline Vector<Real> load(const Real* from) {
  Vector<Real> vector;
  std::memcpy(&vector, from, sizeof vector);
  return vector;
}

template <typename Real>
inline void save(const Vector<Real>& vector, Real* to) {
  std::memcpy(to, &vector, sizeof vector);
}

// columns[d][j] = rows[j][d] for j < length; what is beyond in a row of `columns` is zero.
template <typename Real>
inline void transpose(const Rows<Real>& rows, std::int64_t length, std::int64_t size, std::int64_t width,
                      Real* __restrict columns) {
  for (std::int64_t d = 0; d < size; ++d) {
    for (std::int64_t j = 0; j < length; ++j) columns[d * width + j] = rows.row(j)[d];
    for (std::int64_t j = length; j < width; ++j) columns[d * width + j] = 0;
  }
}

// out[r][j] = sum over d of left[r][d] * columns[d][j] for r < count; rows of `out` are `width` apart.
template <int count, typename Real>
inline void rows_times_columns(const Rows<Real>& left, const Real* columns, std::int64_t size, std::int64_t width,
                               Real* out) {
  for (std::int64_t base = 0; base < width; base += kLanes) {
    Vector<Real> sum[count] = {};
    for (std::int64_t d = 0; d < size; ++d) {
      const Vector<Real> column = load(columns + d * width + base);
#pragma GCC unroll 4
      for (int r = 0; r < count; ++r) sum[r] += left.row(r)[d] * column;
    }
#pragma GCC unroll 4
    for (int r = 0; r < count; ++r) save(sum[r], out + r * width + base);
  }
}

// out[r][d] = sum over j of left[r][j] * rows[j][d] for r < count; rows of `left` are `width` apart, of `out` `size`.
template <int count, typename Real>
inline void rows_times_rows(const Real* left, std::int64_t width, const Rows<Real>& rows, std::int64_t length,
                            std::int64_t size, Real* out) {
  std::int64_t base = 0;
  for (; base + kLanes <= size; base += kLanes) {
    Vector<Real> sum[count] = {};
    for (std::int64_t j = 0; j < length; ++j) {
      const Vector<Real> row = load(rows.row(j) + base);
#pragma GCC unroll 4
      for (int r = 0; r < count; ++r) sum[r] += left[r * width + j] * row;
    }
#pragma GCC unroll 4
    for (int r = 0; r < count; ++r) save(sum[r], out + r * size + base);
  }
  for (; base < size; ++base) {
    for (int r = 0; r < count; ++r) {
      Real sum = 0;
      for (std::int64_t j = 0; j < length; ++j) sum += left[r * width + j] * rows.row(j)[base];
      out[r * size + base] = sum;
    }
  }
}

// sums[j][d] += sum over r of left[r][j] * rows[r][d] for r < count; rows of `left` are `width` apart, of `sums`
// `size_width`, which `rows` may not fill.
template <int count, typename Real>
inline void add_columns_times_rows(const Real* left, std::int64_t width, const Rows<Real>& rows, std::int64_t length,
                                   std::int64_t size, std::int64_t size_width, Real* sums) {
  for (std::int64_t j = 0; j < length; ++j) {
    Real* sum = sums + j * size_width;
    std::int64_t d = 0;
    for (; d + kLanes <= size; d += kLanes) {
      Vector<Real> total = load(sum + d);
#pragma GCC unroll 4
      for (int r = 0; r < count; ++r) total += left[r * width + j] * load(rows.row(r) + d);
      save(total, sum + d);
    }
    for (; d < size; ++d) {
      for (int r = 0; r < count; ++r) sum[d] += left[r * width + j] * rows.row(r)[d];
    }
  }
}

// Calls run.operator()<count>(first) for the rows [first, first + count) of `length`, kRows at a time.
template <typename Run>
inline void for_row_blocks(std::int64_t length, const Run& run) {
  std::int64_t first = 0;
  for (; first + kRows <= length; first += kRows) run.template operator()<kRows>(first);
  for (; first < length; ++first) run.template operator()<1>(first);
}

}  // namespace
}  // namespace dtrain::model::kernels::DTRAIN_ISA
