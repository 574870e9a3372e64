#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "model/kernels/loops.h"
#include "model/kernels/matrix_loops.h"
#include "model/kernels/random_loops.h"
#include "model/kernels/stored_loops.h"

// Part of loops.cpp, compiled once for each instruction set.
namespace dtrain::model::kernels::DTRAIN_ISA {
namespace {

inline float exponential(float x) {
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
  std::int32_t exponent;
  std::memcpy(&exponent, &shifted, sizeof exponent);
  exponent <<= 23;
  std::int32_t bits;
  std::memcpy(&bits, &y, sizeof bits);
  bits += exponent;
  std::memcpy(&y, &bits, sizeof y);
  return y;
}

inline double exponential(double x) { return std::exp(x); }

// One head of one sequence.
struct Item {
  std::int64_t head;
  std::int64_t begin;   // its first token
  std::int64_t length;  // in tokens
  std::int64_t first_key;
  std::int64_t keys;
};

template <typename Real, typename Stored>
inline Item item_of(const Attention<Real, Stored>& a, std::int64_t index) {
  const std::int64_t sequence = index / a.heads;
  return {index % a.heads, a.offsets[sequence], a.offsets[sequence + 1] - a.offsets[sequence], a.key_offsets[sequence],
          a.key_offsets[sequence + 1] - a.key_offsets[sequence]};
}

// The number of an item's first random element; the elements of its probabilities follow row by row.
template <typename Real, typename Stored>
inline std::uint64_t first_element(const Attention<Real, Stored>& a, const Item& item) {
  return static_cast<std::uint64_t>((item.begin * a.heads + item.head * item.length) * keep_width(a.max_keys));
}

template <typename Real, typename Stored>
void attention_forward(const Attention<Real, Stored>& a, std::int64_t first_item, std::int64_t last_item) {
  const std::int64_t widest = padded(a.max_keys);
  const std::int64_t keep_size = KeepStream<Real>::buffer_size(a.max_keys);
  Scratch<Real> scratch(widest * (a.size + kRows) + keep_size + 3 * widest * a.size + kRows * a.size);
  Real* keys = scratch.take(widest * a.size);
  Real* scores = scratch.take(widest * kRows);
  Real* keep = scratch.take(keep_size);
  Real* query_rows = scratch.take(widest * a.size);
  Real* key_rows = scratch.take(widest * a.size);
  Real* value_rows = scratch.take(widest * a.size);
  Real* outputs = scratch.take(kRows * a.size);
  const std::int64_t hidden = a.heads * a.size;
  for (std::int64_t index = first_item; index < last_item; ++index) {
    const Item item = item_of(a, index);
    const std::int64_t width = padded(item.keys);
    const std::int64_t corner = item.begin * a.stride + item.head * a.size;
    const std::int64_t key_corner = item.first_key * a.stride + item.head * a.size;
    const auto query = readable(a.query + corner, a.stride, item.length, a.size, query_rows);
    const auto value = readable(a.value + key_corner, a.stride, item.keys, a.size, value_rows);
    transpose(readable(a.key + key_corner, a.stride, item.keys, a.size, key_rows), item.keys, a.size, width, keys);
    KeepStream<Real> stream(a.dropout, first_element(a, item), keep);
    for_row_blocks(item.length, [&]<int count>(std::int64_t first) {
      rows_times_columns<count>({query.row(first), query.stride}, keys, a.size, width, scores);
      for (int r = 0; r < count; ++r) {
        Real* row = scores + r * width;
        Real highest = row[0];
#pragma omp simd reduction(max : highest)
        for (std::int64_t j = 0; j < item.keys; ++j) highest = std::max(highest, row[j]);
        Real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t j = 0; j < item.keys; ++j) {
          row[j] = exponential((row[j] - highest) * a.scale);
          sum += row[j];
        }
        const Real normalizer = 1 / sum;
        if (a.dropout.probability > 0) {
          const Real* factors = stream.next(item.keys);
#pragma omp simd
          for (std::int64_t j = 0; j < item.keys; ++j) row[j] *= normalizer * factors[j];
        } else {
#pragma omp simd
          for (std::int64_t j = 0; j < item.keys; ++j) row[j] *= normalizer;
        }
        if (a.log_sum != nullptr) {
          a.log_sum[(item.begin + first + r) * a.heads + item.head] = highest * a.scale + std::log(sum);
        }
      }
      rows_times_rows<count>(scores, width, value, item.keys, a.size, outputs);
      for (int r = 0; r < count; ++r) {
        narrow(outputs + r * a.size, a.size, a.output + (item.begin + first + r) * hidden + item.head * a.size);
      }
    });
  }
}

template <typename Real, typename Stored>
void attention_backward(const Attention<Real, Stored>& a, std::int64_t first_item, std::int64_t last_item) {
  const std::int64_t widest = padded(a.max_keys);
  const std::int64_t size_width = padded(a.size);
  const std::int64_t keep_size = KeepStream<Real>::buffer_size(a.max_keys);
  Scratch<Real> scratch(2 * widest * a.size + 3 * widest * kRows + 2 * widest * size_width + keep_size +
                        5 * widest * a.size + kRows * a.size);
  Real* keys = scratch.take(widest * a.size);
  Real* values = scratch.take(widest * a.size);
  Real* probabilities = scratch.take(widest * kRows);
  Real* gradients = scratch.take(widest * kRows);
  Real* dropped = scratch.take(widest * kRows);
  Real* key_gradient = scratch.take(widest * size_width);
  Real* value_gradient = scratch.take(widest * size_width);
  Real* keep = scratch.take(keep_size);
  Real* query_rows = scratch.take(widest * a.size);
  Real* key_rows = scratch.take(widest * a.size);
  Real* value_rows = scratch.take(widest * a.size);
  Real* upstream_rows = scratch.take(widest * a.size);
  Real* output_rows = scratch.take(widest * a.size);
  Real* query_gradients = scratch.take(kRows * a.size);
  const std::int64_t hidden = a.heads * a.size;
  for (std::int64_t index = first_item; index < last_item; ++index) {
    const Item item = item_of(a, index);
    const std::int64_t length = item.length;
    const std::int64_t width = padded(item.keys);
    const std::int64_t corner = item.begin * a.stride + item.head * a.size;
    const std::int64_t key_corner = item.first_key * a.stride + item.head * a.size;
    const std::int64_t plain_corner = item.begin * hidden + item.head * a.size;
    const std::int64_t gradient_corner = item.begin * a.gradient_stride + item.head * a.size;
    const std::int64_t key_gradient_corner = item.first_key * a.gradient_stride + item.head * a.size;
    const auto query = readable(a.query + corner, a.stride, length, a.size, query_rows);
    const auto key = readable(a.key + key_corner, a.stride, item.keys, a.size, key_rows);
    const auto upstream = readable(a.output_gradient + plain_corner, hidden, length, a.size, upstream_rows);
    const auto output = readable(a.output + plain_corner, hidden, length, a.size, output_rows);
    transpose(key, item.keys, a.size, width, keys);
    transpose(readable(a.value + key_corner, a.stride, item.keys, a.size, value_rows), item.keys, a.size, width,
              values);
    std::fill_n(key_gradient, item.keys * size_width, Real{0});
    std::fill_n(value_gradient, item.keys * size_width, Real{0});
    KeepStream<Real> stream(a.dropout, first_element(a, item), keep);
    for_row_blocks(length, [&]<int count>(std::int64_t first) {
      const Rows<Real> queries{query.row(first), query.stride};
      const Rows<Real> upstreams{upstream.row(first), upstream.stride};
      rows_times_columns<count>(queries, keys, a.size, width, probabilities);
      rows_times_columns<count>(upstreams, values, a.size, width, gradients);
      for (int r = 0; r < count; ++r) {
        // The row sum of probability times its gradient is output times output gradient (Dao et al., 2022, eq. 4), and
        // stays so under dropout.
        Real delta = 0;
        const Real* upstream_row = upstreams.row(r);
        const Real* output_row = output.row(first + r);
#pragma omp simd reduction(+ : delta)
        for (std::int64_t d = 0; d < a.size; ++d) delta += upstream_row[d] * output_row[d];
        const Real log_sum = a.log_sum[(item.begin + first + r) * a.heads + item.head];
        const Real* score = probabilities + r * width;
        Real* gradient = gradients + r * width;
        Real* kept = dropped + r * width;
        if (a.dropout.probability > 0) {
          const Real* factors = stream.next(item.keys);
#pragma omp simd
          for (std::int64_t j = 0; j < item.keys; ++j) {
            const Real probability = exponential(score[j] * a.scale - log_sum);
            kept[j] = probability * factors[j];
            gradient[j] = probability * (gradient[j] * factors[j] - delta) * a.scale;
          }
        } else {
#pragma omp simd
          for (std::int64_t j = 0; j < item.keys; ++j) {
            const Real probability = exponential(score[j] * a.scale - log_sum);
            kept[j] = probability;
            gradient[j] = probability * (gradient[j] - delta) * a.scale;
          }
        }
      }
      rows_times_rows<count>(gradients, width, key, item.keys, a.size, query_gradients);
      for (int r = 0; r < count; ++r) {
        narrow(query_gradients + r * a.size, a.size,
               a.query_gradient + gradient_corner + (first + r) * a.gradient_stride);
      }
      add_columns_times_rows<count>(gradients, width, queries, item.keys, a.size, size_width, key_gradient);
      add_columns_times_rows<count>(dropped, width, upstreams, item.keys, a.size, size_width, value_gradient);
    });
    for (std::int64_t j = 0; j < item.keys; ++j) {
      narrow(key_gradient + j * size_width, a.size, a.key_gradient + key_gradient_corner + j * a.gradient_stride);
      narrow(value_gradient + j * size_width, a.size, a.value_gradient + key_gradient_corner + j * a.gradient_stride);
    }
  }
}

}  // namespace
}  // namespace dtrain::model::kernels::DTRAIN_ISA
