#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "model/kernels/stored_loops.h"

// Small matmuls, blocked for the registers as in Goto and van de Geijn (2008): kRows rows by two vectors at a time.
// Part of loops.cpp, compiled once for each instruction set.
namespace dtrain::model::kernels::DTRAIN_ISA {
namespace {

// Wider ones than the machine's own would go through memory.
#if defined(__AVX512F__)
constexpr std::int64_t kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr std::int64_t kVectorBytes = 32;
#else
constexpr std::int64_t kVectorBytes = 16;
#endif
template <typename Real>
constexpr std::int64_t kLanes = kVectorBytes / static_cast<std::int64_t>(sizeof(Real));
// Rows that are computed together: with two vectors of sums each, two loaded and one broadcast they fill the 16
// registers that every instruction set has.
constexpr int kRows = 6;

// Rows of scratch are padded to whole vectors, so that the loops over them have no tail.
template <typename Real>
constexpr std::int64_t padded(std::int64_t count) {
  return (count + kLanes<Real> - 1) / kLanes<Real> * kLanes<Real>;
}

// kLanes numbers side by side.
template <typename Real>
struct VectorOf {
  typedef Real Type __attribute__((vector_size(kVectorBytes)));
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

// Of `width` numbers, a whole number of vectors.
template <typename Real>
inline Real largest(const Real* numbers, std::int64_t width) {
  Vector<Real> highest = load(numbers);
  for (std::int64_t j = kLanes<Real>; j < width; j += kLanes<Real>) {
    const Vector<Real> next = load(numbers + j);
    highest = next > highest ? next : highest;
  }
  Real result = highest[0];
  for (std::int64_t lane = 1; lane < kLanes<Real>; ++lane) result = std::max<Real>(result, highest[lane]);
  return result;
}

// Calls run.operator()<vectors>(base) for every two vectors of `width`, a whole number of them, and for the last one.
template <typename Real, typename Run>
inline void for_vector_pairs(std::int64_t width, const Run& run) {
  std::int64_t base = 0;
  for (; base + 2 * kLanes<Real> <= width; base += 2 * kLanes<Real>) run.template operator()<2>(base);
  if (base < width) run.template operator()<1>(base);
}

// Calls run.operator()<count>(first) for the rows [first, first + count) of `length`, kRows at a time.
template <typename Run>
inline void for_row_blocks(std::int64_t length, const Run& run) {
  std::int64_t first = 0;
  for (; first + kRows <= length; first += kRows) run.template operator()<kRows>(first);
  [&]<int... count>(std::integer_sequence<int, count...>) {
    static_cast<void>(((length - first == count + 1 && (run.template operator()<count + 1>(first), true)) || ...));
  }
  (std::make_integer_sequence<int, kRows - 1>());
}

// rows[i][k] becomes rows[k][i]: blocks off the diagonal change places, half as large in each round.
template <typename Real>
[[gnu::always_inline]] inline void transpose(Vector<Real> (&rows)[kLanes<Real>]) {
  constexpr int kCount = static_cast<int>(kLanes<Real>);
  const auto round = [&]<int half, int... lane>(std::integral_constant<int, half>,
                                                std::integer_sequence<int, lane...>) {
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) {
      if ((i & half) != 0) continue;
      const Vector<Real> upper = rows[i];
      const Vector<Real> lower = rows[i + half];
      rows[i] = __builtin_shufflevector(upper, lower, ((lane & half) == 0 ? lane : lane - half + kCount)...);
      rows[i + half] = __builtin_shufflevector(upper, lower, ((lane & half) == 0 ? lane + half : lane + kCount)...);
    }
  };
  constexpr auto kLane = std::make_integer_sequence<int, kCount>();
  if constexpr (kCount > 8) round(std::integral_constant<int, 8>(), kLane);
  if constexpr (kCount > 4) round(std::integral_constant<int, 4>(), kLane);
  if constexpr (kCount > 2) round(std::integral_constant<int, 2>(), kLane);
  round(std::integral_constant<int, 1>(), kLane);
}

// `rows` [length, size_width] by columns, in panels of two vectors of columns (the last may have one), each
// [size_width, columns of the panel]: a matmul reads them from the first to the last number. What is in the columns
// from `length` to `width` means nothing.
template <typename Real>
inline void pack_panels(const Rows<Real>& rows, std::int64_t length, std::int64_t size_width, std::int64_t width,
                        Real* __restrict panels) {
  for_vector_pairs<Real>(width, [&]<int vectors>(std::int64_t base) {
    constexpr std::int64_t kColumns = vectors * kLanes<Real>;
    for (std::int64_t d = 0; d < size_width; d += kLanes<Real>) {
      for (int v = 0; v < vectors; ++v) {
        Vector<Real> block[kLanes<Real>];
#pragma GCC unroll 16
        for (std::int64_t c = 0; c < kLanes<Real>; ++c) {
          block[c] = load(rows.row(std::min(base + v * kLanes<Real> + c, length - 1)) + d);
        }
        transpose<Real>(block);
#pragma GCC unroll 16
        for (std::int64_t k = 0; k < kLanes<Real>; ++k) {
          save<Real>(block[k], panels + base * size_width + (d + k) * kColumns + v * kLanes<Real>);
        }
      }
    }
  });
}

// out[r][j] = sum over d < size of rows[r][d] * columns[d][j] for r < count, of columns in panels; rows of `out` are
// `width` apart.
template <int count, typename Real>
inline void rows_times_panels(const Rows<Real>& rows, const Real* panels, std::int64_t size, std::int64_t width,
                              Real* out) {
  for_vector_pairs<Real>(width, [&]<int vectors>(std::int64_t base) {
    constexpr std::int64_t kColumns = vectors * kLanes<Real>;
    const Real* panel = panels + base * padded<Real>(size);
    Vector<Real> sum[count][vectors] = {};
    for (std::int64_t d = 0; d < size; ++d) {
      Vector<Real> column[vectors];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) column[v] = load(panel + d * kColumns + v * kLanes<Real>);
#pragma GCC unroll 8
      for (int r = 0; r < count; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) sum[r][v] += rows.row(r)[d] * column[v];
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < count; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) save<Real>(sum[r][v], out + r * width + base + v * kLanes<Real>);
    }
  });
}

// out[r][d] = sum over j of left[r][j] * rows[j][d] for r < count; rows of `left` are `width` apart, the others
// `size_width`, a whole number of vectors.
template <int count, typename Real>
inline void rows_times_rows(const Real* left, std::int64_t width, const Real* rows, std::int64_t length,
                            std::int64_t size_width, Real* out) {
  for_vector_pairs<Real>(size_width, [&]<int vectors>(std::int64_t base) {
    Vector<Real> sum[count][vectors] = {};
    for (std::int64_t j = 0; j < length; ++j) {
      Vector<Real> row[vectors];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) row[v] = load(rows + j * size_width + base + v * kLanes<Real>);
#pragma GCC unroll 8
      for (int r = 0; r < count; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) sum[r][v] += left[r * width + j] * row[v];
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < count; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) save<Real>(sum[r][v], out + r * size_width + base + v * kLanes<Real>);
    }
  });
}

// sums[j][d] += sum over r of left[r][j] * rows[r][d] for r < count; rows of `left` are `width` apart, of `sums`
// `size_width`, a whole number of vectors.
template <int count, typename Real>
inline void add_columns_times_rows(const Real* left, std::int64_t width, const Rows<Real>& rows, std::int64_t length,
                                   std::int64_t size_width, Real* sums) {
  for_vector_pairs<Real>(size_width, [&]<int vectors>(std::int64_t base) {
    Vector<Real> row[count][vectors];
#pragma GCC unroll 8
    for (int r = 0; r < count; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) row[r][v] = load(rows.row(r) + base + v * kLanes<Real>);
    }
    for (std::int64_t j = 0; j < length; ++j) {
      Real* sum = sums + j * size_width + base;
      Vector<Real> total[vectors];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) total[v] = load(sum + v * kLanes<Real>);
#pragma GCC unroll 8
      for (int r = 0; r < count; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) total[v] += left[r * width + j] * row[r][v];
      }
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) save<Real>(total[v], sum + v * kLanes<Real>);
    }
  });
}

}  // namespace
}  // namespace dtrain::model::kernels::DTRAIN_ISA
