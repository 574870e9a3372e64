// Compiled once for each instruction set, with DTRAIN_ISA naming its namespace.
#include "model/kernels/loops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>

namespace dtrain::model::kernels::DTRAIN_ISA {
namespace {

// Widest vector in floats; rows of scratch are padded to it, so that the loops over them have no tail.
constexpr std::int64_t kLanes = 16;
constexpr std::int64_t kPhiloxBlocks = 16;

constexpr std::int64_t padded(std::int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

// 4 * kPhiloxBlocks random words for the elements [4 * block, 4 * (block + kPhiloxBlocks)), element 4 * b + w at
// words[w * kPhiloxBlocks + b].
inline void philox(const Dropout& dropout, std::uint64_t block, std::uint32_t* __restrict words) {
  std::uint32_t* c0 = words;
  std::uint32_t* c1 = words + kPhiloxBlocks;
  std::uint32_t* c2 = words + 2 * kPhiloxBlocks;
  std::uint32_t* c3 = words + 3 * kPhiloxBlocks;
#pragma omp simd
  for (std::int64_t lane = 0; lane < kPhiloxBlocks; ++lane) {
    const std::uint64_t counter = block + static_cast<std::uint64_t>(lane);
    std::uint32_t x0 = static_cast<std::uint32_t>(counter);
    std::uint32_t x1 = static_cast<std::uint32_t>(counter >> 32);
    std::uint32_t x2 = dropout.site;
    std::uint32_t x3 = 0;
    std::uint32_t k0 = static_cast<std::uint32_t>(dropout.key);
    std::uint32_t k1 = static_cast<std::uint32_t>(dropout.key >> 32);
    for (int round = 0; round < 7; ++round) {
      const std::uint64_t product0 = std::uint64_t{0xD2511F53U} * x0;
      const std::uint64_t product1 = std::uint64_t{0xCD9E8D57U} * x2;
      const std::uint32_t next0 = static_cast<std::uint32_t>(product1 >> 32) ^ x1 ^ k0;
      const std::uint32_t next2 = static_cast<std::uint32_t>(product0 >> 32) ^ x3 ^ k1;
      x1 = static_cast<std::uint32_t>(product1);
      x3 = static_cast<std::uint32_t>(product0);
      x0 = next0;
      x2 = next2;
      k0 += 0x9E3779B9U;
      k1 += 0xBB67AE85U;
    }
    c0[lane] = x0;
    c1[lane] = x1;
    c2[lane] = x2;
    c3[lane] = x3;
  }
}

// keep[i] = 1 / (1 - p) or 0 for the elements first + i, i < 64; `first` is a multiple of 64. The words of a block are
// taken in the order that needs no shuffling.
template <typename Real>
inline void keep_factors(const Dropout& dropout, std::uint64_t first, Real* __restrict keep) {
  alignas(64) std::uint32_t words[4 * kPhiloxBlocks];
  philox(dropout, first / 4, words);
  const auto threshold = static_cast<std::uint32_t>(std::min(dropout.probability * 4294967296.0, 4294967295.0));
  const Real scale = static_cast<Real>(1 / (1 - static_cast<double>(threshold) / 4294967296.0));
#pragma omp simd
  for (std::int64_t i = 0; i < 4 * kPhiloxBlocks; ++i) keep[i] = words[i] >= threshold ? scale : Real{0};
}

constexpr std::int64_t kKeepBlock = 4 * kPhiloxBlocks;

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

inline float widened(BFloat16 value) {
  const std::uint32_t bits = std::uint32_t{value.bits} << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}
inline float widened(float value) { return value; }
inline double widened(double value) { return value; }

inline void store(float value, BFloat16& stored) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  // To nearest, ties to even; what is no number stays none.
  const std::uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
  stored.bits = static_cast<std::uint16_t>(value != value ? 0x7FC0U : rounded);
}
inline void store(float value, float& stored) { stored = value; }
inline void store(double value, double& stored) { stored = value; }

template <typename Real, typename Stored>
inline void widen(const Stored* __restrict from, std::int64_t count, Real* __restrict to) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) to[i] = widened(from[i]);
}

template <typename Real, typename Stored>
inline void narrow(const Real* __restrict from, std::int64_t count, Stored* __restrict to) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) store(from[i], to[i]);
}

// Rows as the loops read them.
template <typename Real>
struct Rows {
  const Real* first;
  std::int64_t stride;
  const Real* row(std::int64_t index) const { return first + index * stride; }
};

// Where they are, or widened into `scratch` [length, size].
template <typename Real, typename Stored>
inline Rows<Real> readable(const Stored* rows, std::int64_t stride, std::int64_t length, std::int64_t size,
                           Real* scratch) {
  if constexpr (std::is_same_v<Real, Stored>) {
    return {rows, stride};
  } else {
    for (std::int64_t i = 0; i < length; ++i) widen(rows + i * stride, size, scratch + i * size);
    return {scratch, size};
  }
}

// Where a row is computed that `land` then puts into `target`: there, or in `scratch`.
template <typename Real, typename Stored>
inline Real* landing(Stored* target, Real* scratch) {
  if constexpr (std::is_same_v<Real, Stored>) {
    return target;
  } else {
    return scratch;
  }
}

template <typename Real, typename Stored>
inline void land(const Real* row, std::int64_t count, Stored* target) {
  if constexpr (!std::is_same_v<Real, Stored>) narrow(row, count, target);
}

// Scratch of one call; 64-byte alignment lets the loops load whole vectors.
template <typename Real>
class Scratch {
 public:
  explicit Scratch(std::int64_t count)
      : memory_(
            static_cast<Real*>(::operator new (sizeof(Real) * static_cast<std::size_t>(count), std::align_val_t{64}))) {
    std::memset(memory_.get(), 0, sizeof(Real) * static_cast<std::size_t>(count));
  }
  Real* take(std::int64_t count) {
    Real* taken = memory_.get() + used_;
    used_ += count;
    return taken;
  }

 private:
  struct Free {
    void operator()(Real* pointer) const { ::operator delete (pointer, std::align_val_t{64}); }
  };
  std::unique_ptr<Real, Free> memory_;
  std::int64_t used_ = 0;
};

// columns[d][j] = rows[j][d] for j < length; what is beyond in a row of `columns` is zero.
template <typename Real>
inline void transpose(const Rows<Real>& rows, std::int64_t length, std::int64_t size, std::int64_t width,
                      Real* __restrict columns) {
  for (std::int64_t d = 0; d < size; ++d) {
    for (std::int64_t j = 0; j < length; ++j) columns[d * width + j] = rows.row(j)[d];
    for (std::int64_t j = length; j < width; ++j) columns[d * width + j] = 0;
  }
}

// out[j] = sum over d of left[d] * columns[d][j].
template <typename Real>
inline void row_times_columns(const Real* __restrict left, const Real* __restrict columns, std::int64_t size,
                              std::int64_t width, Real* __restrict out) {
  for (std::int64_t base = 0; base < width; base += kLanes) {
    Real sum[kLanes] = {};
    for (std::int64_t d = 0; d < size; ++d) {
      const Real factor = left[d];
#pragma omp simd
      for (std::int64_t lane = 0; lane < kLanes; ++lane) sum[lane] += factor * columns[d * width + base + lane];
    }
#pragma omp simd
    for (std::int64_t lane = 0; lane < kLanes; ++lane) out[base + lane] = sum[lane];
  }
}

// out[d] = sum over j of left[j] * rows[j][d].
template <typename Real>
inline void row_times_rows(const Real* __restrict left, const Rows<Real>& all, std::int64_t length, std::int64_t size,
                           Real* __restrict out) {
  const Real* __restrict rows = all.first;
  const std::int64_t stride = all.stride;
  std::int64_t base = 0;
  for (; base + kLanes <= size; base += kLanes) {
    Real sum[kLanes] = {};
    for (std::int64_t j = 0; j < length; ++j) {
      const Real factor = left[j];
#pragma omp simd
      for (std::int64_t lane = 0; lane < kLanes; ++lane) sum[lane] += factor * rows[j * stride + base + lane];
    }
#pragma omp simd
    for (std::int64_t lane = 0; lane < kLanes; ++lane) out[base + lane] = sum[lane];
  }
  for (; base < size; ++base) {
    Real sum = 0;
    for (std::int64_t j = 0; j < length; ++j) sum += left[j] * rows[j * stride + base];
    out[base] = sum;
  }
}

// The number of the first random element of a row of probabilities.
template <typename Real, typename Stored>
inline std::uint64_t row_element(const Attention<Real, Stored>& a, std::int64_t token, std::int64_t head) {
  const std::int64_t row = (a.max_length + kKeepBlock - 1) / kKeepBlock * kKeepBlock;
  return static_cast<std::uint64_t>((token * a.heads + head) * row);
}

template <typename Real, typename Stored>
inline void row_keep_factors(const Attention<Real, Stored>& a, std::int64_t token, std::int64_t head,
                             std::int64_t length, Real* keep) {
  const std::uint64_t first = row_element(a, token, head);
  for (std::int64_t j = 0; j < length; j += kKeepBlock) {
    keep_factors(a.dropout, first + static_cast<std::uint64_t>(j), keep + j);
  }
}

inline std::int64_t keep_width(std::int64_t length) { return (length + kKeepBlock - 1) / kKeepBlock * kKeepBlock; }

template <typename Real, typename Stored>
void attention_forward(const Attention<Real, Stored>& a, std::int64_t first_item, std::int64_t last_item) {
  const std::int64_t widest = padded(a.max_length);
  Scratch<Real> scratch(widest * (a.size + 1) + keep_width(a.max_length) + 3 * widest * a.size + a.size);
  Real* keys = scratch.take(widest * a.size);
  Real* scores = scratch.take(widest);
  Real* keep = scratch.take(keep_width(a.max_length));
  Real* query_rows = scratch.take(widest * a.size);
  Real* key_rows = scratch.take(widest * a.size);
  Real* value_rows = scratch.take(widest * a.size);
  Real* row = scratch.take(a.size);
  const std::int64_t hidden = a.heads * a.size;
  for (std::int64_t item = first_item; item < last_item; ++item) {
    const std::int64_t head = item % a.heads;
    const std::int64_t begin = a.offsets[item / a.heads];
    const std::int64_t length = a.offsets[item / a.heads + 1] - begin;
    const std::int64_t width = padded(length);
    const std::int64_t corner = begin * a.stride + head * a.size;
    const auto query = readable(a.query + corner, a.stride, length, a.size, query_rows);
    const auto value = readable(a.value + corner, a.stride, length, a.size, value_rows);
    transpose(readable(a.key + corner, a.stride, length, a.size, key_rows), length, a.size, width, keys);
    for (std::int64_t i = 0; i < length; ++i) {
      row_times_columns(query.row(i), keys, a.size, width, scores);
      Real highest = scores[0];
#pragma omp simd reduction(max : highest)
      for (std::int64_t j = 0; j < length; ++j) highest = std::max(highest, scores[j]);
      Real sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t j = 0; j < length; ++j) {
        scores[j] = exponential((scores[j] - highest) * a.scale);
        sum += scores[j];
      }
      const Real normalizer = 1 / sum;
      if (a.dropout.probability > 0) {
        row_keep_factors(a, begin + i, head, length, keep);
#pragma omp simd
        for (std::int64_t j = 0; j < length; ++j) scores[j] *= normalizer * keep[j];
      } else {
#pragma omp simd
        for (std::int64_t j = 0; j < length; ++j) scores[j] *= normalizer;
      }
      if (a.log_sum != nullptr) a.log_sum[(begin + i) * a.heads + head] = highest * a.scale + std::log(sum);
      Stored* output = a.output + (begin + i) * hidden + head * a.size;
      Real* computed = landing(output, row);
      row_times_rows(scores, value, length, a.size, computed);
      land(computed, a.size, output);
    }
  }
}

template <typename Real, typename Stored>
void attention_backward(const Attention<Real, Stored>& a, std::int64_t first_item, std::int64_t last_item) {
  const std::int64_t widest = padded(a.max_length);
  const std::int64_t size_width = padded(a.size);
  Scratch<Real> scratch(2 * widest * a.size + 3 * widest + 2 * widest * size_width + keep_width(a.max_length) +
                        5 * widest * a.size + a.size);
  Real* keys = scratch.take(widest * a.size);
  Real* values = scratch.take(widest * a.size);
  Real* probabilities = scratch.take(widest);
  Real* gradients = scratch.take(widest);
  Real* dropped = scratch.take(widest);
  Real* key_gradient = scratch.take(widest * size_width);
  Real* value_gradient = scratch.take(widest * size_width);
  Real* keep = scratch.take(keep_width(a.max_length));
  Real* query_rows = scratch.take(widest * a.size);
  Real* key_rows = scratch.take(widest * a.size);
  Real* value_rows = scratch.take(widest * a.size);
  Real* upstream_rows = scratch.take(widest * a.size);
  Real* output_rows = scratch.take(widest * a.size);
  Real* row = scratch.take(a.size);
  const std::int64_t hidden = a.heads * a.size;
  for (std::int64_t item = first_item; item < last_item; ++item) {
    const std::int64_t head = item % a.heads;
    const std::int64_t begin = a.offsets[item / a.heads];
    const std::int64_t length = a.offsets[item / a.heads + 1] - begin;
    const std::int64_t width = padded(length);
    const std::int64_t corner = begin * a.stride + head * a.size;
    const std::int64_t plain_corner = begin * hidden + head * a.size;
    const std::int64_t gradient_corner = begin * a.gradient_stride + head * a.size;
    const auto queries = readable(a.query + corner, a.stride, length, a.size, query_rows);
    const auto key = readable(a.key + corner, a.stride, length, a.size, key_rows);
    const auto upstreams = readable(a.output_gradient + plain_corner, hidden, length, a.size, upstream_rows);
    const auto outputs = readable(a.output + plain_corner, hidden, length, a.size, output_rows);
    transpose(key, length, a.size, width, keys);
    transpose(readable(a.value + corner, a.stride, length, a.size, value_rows), length, a.size, width, values);
    std::fill_n(key_gradient, length * size_width, Real{0});
    std::fill_n(value_gradient, length * size_width, Real{0});
    for (std::int64_t i = 0; i < length; ++i) {
      const Real* query = queries.row(i);
      const Real* upstream = upstreams.row(i);
      const Real* output = outputs.row(i);
      const Real log_sum = a.log_sum[(begin + i) * a.heads + head];
      // The row sum of probability times its gradient is output times output gradient (Dao et al., 2022, eq. 4), and
      // stays so under dropout.
      Real delta = 0;
#pragma omp simd reduction(+ : delta)
      for (std::int64_t d = 0; d < a.size; ++d) delta += upstream[d] * output[d];
      row_times_columns(query, keys, a.size, width, probabilities);
      row_times_columns(upstream, values, a.size, width, gradients);
      if (a.dropout.probability > 0) {
        row_keep_factors(a, begin + i, head, length, keep);
#pragma omp simd
        for (std::int64_t j = 0; j < length; ++j) {
          const Real probability = exponential(probabilities[j] * a.scale - log_sum);
          dropped[j] = probability * keep[j];
          gradients[j] = probability * (gradients[j] * keep[j] - delta) * a.scale;
        }
      } else {
#pragma omp simd
        for (std::int64_t j = 0; j < length; ++j) {
          const Real probability = exponential(probabilities[j] * a.scale - log_sum);
          dropped[j] = probability;
          gradients[j] = probability * (gradients[j] - delta) * a.scale;
        }
      }
      Stored* query_gradient = a.query_gradient + gradient_corner + i * a.gradient_stride;
      Real* computed = landing(query_gradient, row);
      row_times_rows(gradients, key, length, a.size, computed);
      land(computed, a.size, query_gradient);
      for (std::int64_t j = 0; j < length; ++j) {
        const Real for_key = gradients[j];
        const Real for_value = dropped[j];
        Real* __restrict key_row = key_gradient + j * size_width;
        Real* __restrict value_row = value_gradient + j * size_width;
#pragma omp simd
        for (std::int64_t d = 0; d < a.size; ++d) {
          key_row[d] += for_key * query[d];
          value_row[d] += for_value * upstream[d];
        }
      }
    }
    for (std::int64_t j = 0; j < length; ++j) {
      narrow(key_gradient + j * size_width, a.size, a.key_gradient + gradient_corner + j * a.gradient_stride);
      narrow(value_gradient + j * size_width, a.size, a.value_gradient + gradient_corner + j * a.gradient_stride);
    }
  }
}

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

template <typename Real, typename Stored>
void dropout(const Dropout& dropout, const Stored* input, Stored* output, std::int64_t first, std::int64_t last) {
  alignas(64) Real keep[kKeepBlock];
  for (std::int64_t base = first; base < last; base += kKeepBlock) {
    keep_factors(dropout, static_cast<std::uint64_t>(base), keep);
    const std::int64_t count = std::min(kKeepBlock, last - base);
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) store(widened(input[base + i]) * keep[i], output[base + i]);
  }
}

template <typename Real, typename Stored = Real>
constexpr Loops<Real, Stored> table() {
  return {attention_forward<Real, Stored>, attention_backward<Real, Stored>, norm_forward<Real, Stored>,
          norm_backward<Real, Stored>, dropout<Real, Stored>};
}

}  // namespace

extern const Loops<float> float_loops;
extern const Loops<double> double_loops;
extern const Loops<float, BFloat16> bfloat16_loops;
const Loops<float> float_loops = table<float>();
const Loops<double> double_loops = table<double>();
const Loops<float, BFloat16> bfloat16_loops = table<float, BFloat16>();

}  // namespace dtrain::model::kernels::DTRAIN_ISA
