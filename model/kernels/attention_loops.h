#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "model/kernels/attention_item.h"
#include "model/kernels/loops.h"
#include "model/kernels/matrix_loops.h"
#include "model/kernels/random_loops.h"
#include "model/kernels/stored_loops.h"

// Part of loops.cpp, compiled once for each instruction set.
namespace dtrain::model::kernels::DTRAIN_ISA {
namespace {

[[gnu::always_inline]] inline float exponential(float x) {
  // exp(x) = 2^n * exp(r), |r| <= log(2) / 2, by a polynomial with a relative error of about 1e-7.
  x = std::max(x, -87.0F);
  const float shifted = x * 1.44269504F + 12582912.0F;
  const float n = shifted - 12582912.0F;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float y = 1.9875691500e-4F;
  y = y * r + 1.3981999507e-3F;
  y = y * r + 8.3334519073e-3F;
  y = y * r + 4.1665795894e-2F;
  y = y * r + 1.6666665459e-1F;
  y = y * r + 5.0000001201e-1F;
  y = y * r * r + r + 1.0F;
  return std::bit_cast<float>(std::bit_cast<std::int32_t>(y) + (std::bit_cast<std::int32_t>(shifted) << 23));
}

inline double exponential(double x) { return std::exp(x); }

// The rows of one head, [length, size], in `scratch` side by side, each padded with zeros to `size_width`.
template <typename Real, typename Stored>
inline Rows<Real> gathered(const Stored* rows, std::int64_t stride, std::int64_t length, std::int64_t size,
                           std::int64_t size_width, Real* __restrict scratch) {
  for (std::int64_t i = 0; i < length; ++i) widen(rows + i * stride, size, scratch + i * size_width);
  return {scratch, size_width};
}

// Where they are, if whole vectors can be read there; else gathered.
template <typename Real, typename Stored>
inline Rows<Real> readable(const Stored* rows, std::int64_t stride, std::int64_t length, std::int64_t size,
                           std::int64_t size_width, Real* scratch) {
  if constexpr (std::is_same_v<Real, Stored>) {
    if (size == size_width) return {rows, stride};
  }
  return gathered(rows, stride, length, size, size_width, scratch);
}

// What keys that are not there score: their exponential adds nothing to a sum.
constexpr float kNoScore = -1e30F;

template <typename Real, typename Stored>
void attention_forward(const Attention<Real, Stored>& a, std::int64_t first_item, std::int64_t last_item) {
  const std::int64_t widest = padded<Real>(a.max_keys);
  const std::int64_t size_width = padded<Real>(a.size);
  const std::int64_t keep_size = KeepStream<Real>::buffer_size(a.max_keys);
  Scratch<Real> scratch(widest * (4 * size_width + kRows) + keep_size + kRows * size_width);
  Real* keys = scratch.take(widest * size_width);
  Real* query_rows = scratch.take(widest * size_width);
  Real* key_rows = scratch.take(widest * size_width);
  Real* value_rows = scratch.take(widest * size_width);
  Real* scores = scratch.take(widest * kRows);
  Real* outputs = scratch.take(kRows * size_width);
  Real* keep = scratch.take(keep_size);
  const std::int64_t hidden = a.heads * a.size;
  for (std::int64_t index = first_item; index < last_item; ++index) {
    const Item item = item_of(a, index);
    if (item.length == 0) continue;
    const std::int64_t width = padded<Real>(item.keys);
    const std::int64_t corner = item.begin * a.stride + item.head * a.size;
    const std::int64_t key_corner = item.first_key * a.stride + item.head * a.size;
    const auto query = readable(a.query + corner, a.stride, item.length, a.size, size_width, query_rows);
    const auto key = readable(a.key + key_corner, a.stride, item.keys, a.size, size_width, key_rows);
    const auto value = gathered(a.value + key_corner, a.stride, item.keys, a.size, size_width, value_rows);
    pack_panels(key, item.keys, size_width, width, keys);
    KeepStream<Real> stream(a.dropout, first_element(a, item), keep);
    for_row_blocks(item.length, [&]<int count>(std::int64_t first) {
      rows_times_panels<count>(query.from(first), keys, a.size, width, scores);
      for (int r = 0; r < count; ++r) {
        Real* row = scores + r * width;
        std::fill(row + item.keys, row + width, Real{kNoScore});
        const Real highest = largest(row, width);
        Real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t j = 0; j < width; ++j) {
          row[j] = exponential((row[j] - highest) * a.scale);
          sum += row[j];
        }
        const Real normalizer = 1 / sum;
        if (a.dropout.probability > 0) {
          const Real* factors = stream.next(item.keys);
#pragma omp simd
          for (std::int64_t j = 0; j < width; ++j) row[j] *= normalizer * factors[j];
        } else {
#pragma omp simd
          for (std::int64_t j = 0; j < width; ++j) row[j] *= normalizer;
        }
        if (a.log_sum != nullptr) {
          a.log_sum[(item.begin + first + r) * a.heads + item.head] = highest * a.scale + std::log(sum);
        }
      }
      rows_times_rows<count>(scores, width, value.first, item.keys, size_width, outputs);
      for (int r = 0; r < count; ++r) {
        narrow(outputs + r * size_width, a.size, a.output + (item.begin + first + r) * hidden + item.head * a.size);
      }
    });
  }
}

template <typename Real, typename Stored>
void attention_backward(const Attention<Real, Stored>& a, std::int64_t first_item, std::int64_t last_item) {
  const std::int64_t widest = padded<Real>(a.max_keys);
  const std::int64_t size_width = padded<Real>(a.size);
  const std::int64_t keep_size = KeepStream<Real>::buffer_size(a.max_keys);
  Scratch<Real> scratch(widest * (9 * size_width + 3 * kRows) + keep_size + kRows * size_width);
  Real* keys = scratch.take(widest * size_width);
  Real* values = scratch.take(widest * size_width);
  Real* query_rows = scratch.take(widest * size_width);
  Real* key_rows = scratch.take(widest * size_width);
  Real* value_rows = scratch.take(widest * size_width);
  Real* upstream_rows = scratch.take(widest * size_width);
  Real* output_rows = scratch.take(widest * size_width);
  Real* key_gradient = scratch.take(widest * size_width);
  Real* value_gradient = scratch.take(widest * size_width);
  Real* probabilities = scratch.take(widest * kRows);
  Real* gradients = scratch.take(widest * kRows);
  Real* dropped = scratch.take(widest * kRows);
  Real* query_gradients = scratch.take(kRows * size_width);
  Real* keep = scratch.take(keep_size);
  const std::int64_t hidden = a.heads * a.size;
  for (std::int64_t index = first_item; index < last_item; ++index) {
    const Item item = item_of(a, index);
    if (item.length == 0) continue;
    const std::int64_t width = padded<Real>(item.keys);
    const std::int64_t corner = item.begin * a.stride + item.head * a.size;
    const std::int64_t key_corner = item.first_key * a.stride + item.head * a.size;
    const std::int64_t plain_corner = item.begin * hidden + item.head * a.size;
    const std::int64_t gradient_corner = item.begin * a.gradient_stride + item.head * a.size;
    const std::int64_t key_gradient_corner = item.first_key * a.gradient_stride + item.head * a.size;
    const auto query = readable(a.query + corner, a.stride, item.length, a.size, size_width, query_rows);
    const auto key = gathered(a.key + key_corner, a.stride, item.keys, a.size, size_width, key_rows);
    const auto value = readable(a.value + key_corner, a.stride, item.keys, a.size, size_width, value_rows);
    const auto upstream =
        readable(a.output_gradient + plain_corner, hidden, item.length, a.size, size_width, upstream_rows);
    const auto output = readable(a.output + plain_corner, hidden, item.length, a.size, size_width, output_rows);
    pack_panels(key, item.keys, size_width, width, keys);
    pack_panels(value, item.keys, size_width, width, values);
    std::fill_n(key_gradient, item.keys * size_width, Real{0});
    std::fill_n(value_gradient, item.keys * size_width, Real{0});
    KeepStream<Real> stream(a.dropout, first_element(a, item), keep);
    for_row_blocks(item.length, [&]<int count>(std::int64_t first) {
      const Rows<Real> queries = query.from(first);
      const Rows<Real> upstreams = upstream.from(first);
      rows_times_panels<count>(queries, keys, a.size, width, probabilities);
      rows_times_panels<count>(upstreams, values, a.size, width, gradients);
      for (int r = 0; r < count; ++r) {
        // The row sum of probability times its gradient is output times output gradient (Dao et al., 2022, eq. 4), and
        // stays so under dropout.
        Real delta = 0;
        const Real* upstream_row = upstreams.row(r);
        const Real* output_row = output.row(first + r);
#pragma omp simd reduction(+ : delta)
        for (std::int64_t d = 0; d < a.size; ++d) delta += upstream_row[d] * output_row[d];
        const Real log_sum = a.log_sum[(item.begin + first + r) * a.heads + item.head];
        Real* score = probabilities + r * width;
        std::fill(score + item.keys, score + width, Real{kNoScore});
        Real* gradient = gradients + r * width;
        Real* kept = dropped + r * width;
        if (a.dropout.probability > 0) {
          const Real* factors = stream.next(item.keys);
#pragma omp simd
          for (std::int64_t j = 0; j < width; ++j) {
            const Real probability = exponential(score[j] * a.scale - log_sum);
            kept[j] = probability * factors[j];
            gradient[j] = probability * (gradient[j] * factors[j] - delta) * a.scale;
          }
        } else {
#pragma omp simd
          for (std::int64_t j = 0; j < width; ++j) {
            const Real probability = exponential(score[j] * a.scale - log_sum);
            kept[j] = probability;
            gradient[j] = probability * (gradient[j] - delta) * a.scale;
          }
        }
      }
      rows_times_rows<count>(gradients, width, key.first, item.keys, size_width, query_gradients);
      for (int r = 0; r < count; ++r) {
        narrow(query_gradients + r * size_width, a.size,
               a.query_gradient + gradient_corner + (first + r) * a.gradient_stride);
      }
      add_columns_times_rows<count>(gradients, width, queries, item.keys, size_width, key_gradient);
      add_columns_times_rows<count>(dropped, width, upstreams, item.keys, size_width, value_gradient);
    });
    for (std::int64_t j = 0; j < item.keys; ++j) {
      narrow(key_gradient + j * size_width, a.size, a.key_gradient + key_gradient_corner + j * a.gradient_stride);
      narrow(value_gradient + j * size_width, a.size, a.value_gradient + key_gradient_corner + j * a.gradient_stride);
    }
  }
}

}  // namespace
}  // namespace dtrain::model::kernels::DTRAIN_ISA
