// Attention whose matmuls take bfloat16 as it is stored and sum in float, by the tiles of AMX; probabilities and their
// gradients are rounded to bfloat16 for them, as autocast does.
#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <numbers>

#include "model/kernels/attention_item.h"
#include "model/kernels/loops.h"
#include "model/kernels/random_loops.h"
#include "model/kernels/stored_loops.h"
#include "model/kernels/tile_matmul.h"

namespace dtrain::model::kernels::DTRAIN_ISA {

void attention_forward(const Attention<float, BFloat16>& a, std::int64_t first_item, std::int64_t last_item);
void attention_backward(const Attention<float, BFloat16>& a, std::int64_t first_item, std::int64_t last_item);

namespace {

constexpr float kLog2E = std::numbers::log2e_v<float>;

// 2^x with a relative error of about 1e-7, by Cephes' polynomial for exp2f.
inline __m512 exponential2(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 rest = _mm512_sub_ps(x, whole);
  __m512 y = _mm512_set1_ps(1.535336188319500e-4F);
  for (const float coefficient : {1.339887440266574e-3F, 9.618437357674640e-3F, 5.550332471162809e-2F,
                                  2.402264791363012e-1F, 6.931472028550421e-1F, 1.0F}) {
    y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(coefficient));
  }
  return _mm512_scalef_ps(y, whole);
}

// The lanes j + lane < keys.
inline __mmask16 lanes_before(std::int64_t keys, std::int64_t j) {
  return static_cast<__mmask16>(keys - j >= 16 ? 0xFFFF : keys <= j ? 0 : (1 << (keys - j)) - 1);
}

inline __m512i as_bfloat16(__m512 lower, __m512 upper) { return (__m512i)_mm512_cvtne2ps_pbh(upper, lower); }

// Which elements stay, 16 bits of each side by side.
class Keep {
 public:
  explicit Keep(const Dropout& dropout)
      : drops_(dropout.probability > 0), threshold_(_mm512_set1_epi16(static_cast<short>(keep_threshold(dropout)))) {}
  bool drops() const { return drops_; }
  __mmask32 mask(const std::uint16_t* bits) const {
    return drops_ ? _mm512_cmpge_epu16_mask(_mm512_loadu_si512(bits), threshold_) : ~__mmask32{0};
  }

 private:
  bool drops_;
  __m512i threshold_;
};

struct SoftmaxRow {
  float sum;
  float log_sum;
};

// The exponentials of `keys` scores, less the highest, times what stays, in `out` with zeros up to the next block;
// their sum is of those dropped, too.
inline SoftmaxRow softmax(const float* scores, std::int64_t keys, float scale, const Keep& keep,
                          const std::uint16_t* bits, BFloat16* out) {
  __m512 highest = _mm512_set1_ps(-INFINITY);
  for (std::int64_t j = 0; j < keys; j += 16) {
    const auto lanes = lanes_before(keys, j);
    highest = _mm512_mask_max_ps(highest, lanes, highest, _mm512_loadu_ps(scores + j));
  }
  const float most = _mm512_reduce_max_ps(highest);
  const __m512 factor = _mm512_set1_ps(scale * kLog2E);
  const __m512 shift = _mm512_set1_ps(most * scale * kLog2E);
  __m512 sum = _mm512_setzero_ps();
  for (std::int64_t j = 0; j < keys; j += kBlock) {
    const auto exponential = [&](std::int64_t at) {
      const __m512 x = _mm512_fmsub_ps(_mm512_loadu_ps(scores + at), factor, shift);
      return _mm512_maskz_mov_ps(lanes_before(keys, at), exponential2(x));
    };
    const __m512 lower = exponential(j);
    const __m512 upper = exponential(j + 16);
    sum = _mm512_add_ps(sum, _mm512_add_ps(lower, upper));
    const __mmask32 stays = keep.mask(bits + j);
    _mm512_storeu_si512(out + j, as_bfloat16(_mm512_maskz_mov_ps(static_cast<__mmask16>(stays), lower),
                                             _mm512_maskz_mov_ps(static_cast<__mmask16>(stays >> 16), upper)));
  }
  const float total = _mm512_reduce_add_ps(sum);
  return {total, most * scale + std::log(total)};
}

// What one pair of rows of scores becomes in backward.
struct BackwardRow {
  const float* scores;
  const float* gradients;  // of the probabilities
  const std::uint16_t* bits;
  float log_sum;
  float delta;  // the sum of the probabilities times their gradients
  bool exists;
  BFloat16* score_gradients;  // times 1 / scale
};

struct RowPart {
  __m512 kept;            // probability, or 0, times 1 / keep_scale
  __m512 score_gradient;  // times 1 / scale
};

inline RowPart differentiated(const BackwardRow& row, std::int64_t j, __mmask16 lanes, __mmask16 stays, __m512 factor,
                              __m512 keep_factor) {
  const __m512 x = _mm512_fmsub_ps(_mm512_loadu_ps(row.scores + j), factor, _mm512_set1_ps(row.log_sum * kLog2E));
  const __m512 probability = exponential2(x);
  const __m512 gradient = _mm512_maskz_mul_ps(stays, _mm512_loadu_ps(row.gradients + j), keep_factor);
  return {_mm512_maskz_mov_ps(stays & lanes, probability),
          _mm512_maskz_mul_ps(lanes, probability, _mm512_sub_ps(gradient, _mm512_set1_ps(row.delta)))};
}

// Rows 2 p and 2 p + 1: their score gradients side by side, and the pairs of those and of the kept probabilities.
inline void differentiate_pair(const BackwardRow& lower, const BackwardRow& upper, std::int64_t keys,
                               std::int64_t width, float scale, const Keep& keep, float keep_factor,
                               std::uint32_t* kept_pairs, std::uint32_t* gradient_pairs) {
  const __m512 factor = _mm512_set1_ps(scale * kLog2E);
  const __m512 keep_factors = _mm512_set1_ps(keep_factor);
  for (std::int64_t base = 0; base < width; base += kBlock) {
    const __mmask32 lower_stays = keep.mask(lower.bits + base);
    const __mmask32 upper_stays = keep.mask(upper.bits + base);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const std::int64_t j = base + 16 * half;
      const auto lanes = lanes_before(keys, j);
      const auto first =
          differentiated(lower, j, lanes, static_cast<__mmask16>(lower_stays >> (16 * half)), factor, keep_factors);
      const auto second = differentiated(upper, j, upper.exists ? lanes : __mmask16{0},
                                         static_cast<__mmask16>(upper_stays >> (16 * half)), factor, keep_factors);
      _mm512_storeu_si512(kept_pairs + j, interleaved(as_bfloat16(first.kept, second.kept)));
      const __m512i gradients = as_bfloat16(first.score_gradient, second.score_gradient);
      _mm512_storeu_si512(gradient_pairs + j, interleaved(gradients));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(lower.score_gradients + j), _mm512_castsi512_si256(gradients));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(upper.score_gradients + j),
                          _mm512_extracti64x4_epi64(gradients, 1));
    }
  }
}

// `count` numbers times `factor`, rounded.
inline void narrow_times(const float* from, float factor, std::int64_t count, BFloat16* to) {
  for (std::int64_t i = 0; i < count; i += 16) {
    const auto lanes = lanes_before(count, i);
    const __m512 numbers = _mm512_mul_ps(_mm512_loadu_ps(from + i), _mm512_set1_ps(factor));
    _mm256_mask_storeu_epi16(to + i, lanes, (__m256i)_mm512_cvtneps_pbh(numbers));
  }
}

// The columns of `from` [size, width] times `factor`, rounded, as the rows of `to`, `count` rows of `size` that are
// `stride` apart. Two `scratch` of width * size / 2 words.
inline void narrow_columns(Matrix<const float> from, std::int64_t width, float factor, std::uint32_t* scratch,
                           std::uint32_t* turned_scratch, std::int64_t padded_size, BFloat16* to, std::int64_t stride,
                           std::int64_t count, std::int64_t size) {
  const Matrix<std::uint32_t> pairs{scratch, width};
  const __m512 factors = _mm512_set1_ps(factor);
  for (std::int64_t p = 0; p < padded_size / 2; ++p) {
    for (std::int64_t j = 0; j < width; j += 16) {
      const __m512 lower = _mm512_mul_ps(_mm512_loadu_ps(from.row(2 * p) + j), factors);
      const __m512 upper = _mm512_mul_ps(_mm512_loadu_ps(from.row(2 * p + 1) + j), factors);
      _mm512_storeu_si512(pairs.row(p) + j, interleaved(as_bfloat16(lower, upper)));
    }
  }
  const Matrix<std::uint32_t> turned{turned_scratch, padded_size / 2};
  transpose_words(Matrix<const std::uint32_t>{scratch, width}, padded_size / 2, width, turned);
  for (std::int64_t j = 0; j < count; ++j) {
    for (std::int64_t d = 0; d < size; d += kBlock) {
      const auto there = size - d >= kBlock ? ~__mmask32{0} : (__mmask32{1} << (size - d)) - 1;
      _mm512_mask_storeu_epi16(to + j * stride + d, there, _mm512_loadu_si512(turned.row(j) + d / 2));
    }
  }
}

// The product of two rows of bfloat16, in float.
inline float dot(const BFloat16* left, const BFloat16* right, std::int64_t count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) sum += widened(left[i]) * widened(right[i]);
  return sum;
}

// Gives out matrices of one kind of element, all aligned.
template <typename Element>
struct Matrices {
  Scratch<Element> scratch;
  Matrix<Element> take(std::int64_t rows, std::int64_t columns) { return {scratch.take(rows * columns), columns}; }
};

template <typename Element>
Matrix<const Element> from(Matrix<Element> matrix, std::int64_t row) {
  return {matrix.row(row), matrix.stride};
}

// Rows of the next item are asked for while this one is computed: they are too far apart for the hardware to foresee.
template <int hint>
inline void prefetch(const BFloat16* rows, std::int64_t stride, std::int64_t length, std::int64_t size) {
  for (std::int64_t i = 0; i < length; ++i) {
    for (std::int64_t d = 0; d < size; d += 32) __builtin_prefetch(rows + i * stride + d, hint, 2);
  }
}

}  // namespace

void attention_forward(const Attention<float, BFloat16>& a, std::int64_t first_item, std::int64_t last_item) {
  const std::int64_t longest = in_blocks(a.max_keys);
  const std::int64_t size = in_blocks(a.size);
  Matrices<BFloat16> brains{Scratch<BFloat16>(3 * longest * size + kBlock * longest)};
  const auto queries = brains.take(longest, size);
  const auto keys = brains.take(longest, size);
  const auto values = brains.take(longest, size);
  auto probabilities = brains.take(kBlock, longest);
  Matrices<std::uint32_t> words{Scratch<std::uint32_t>(longest * size)};
  auto key_columns = words.take(size / 2, longest);
  const auto value_pairs = words.take(longest / 2, size);
  Matrices<float> floats{Scratch<float>(kBlock * (longest + size))};
  auto scores = floats.take(kBlock, longest);
  const auto outputs = floats.take(kBlock, size);
  Scratch<std::uint16_t> bits(KeepStream<std::uint16_t>::buffer_size(longest + kBlock));
  std::uint16_t* const keep_bits = bits.take(0);
  const Keep keep(a.dropout);
  const auto keep_factor = static_cast<float>(keep.drops() ? keep_scale(a.dropout) : 1);
  const std::int64_t hidden = a.heads * a.size;
  const MatrixUnit unit;
  for (std::int64_t index = first_item; index < last_item; ++index) {
    const Item item = item_of(a, index);
    if (item.length == 0) continue;
    const std::int64_t width = in_blocks(item.keys);
    const std::int64_t key_corner = item.first_key * a.stride + item.head * a.size;
    gather(a.query + item.begin * a.stride + item.head * a.size, a.stride, item.length, a.size, queries);
    gather(a.key + key_corner, a.stride, item.keys, a.size, keys);
    gather(a.value + key_corner, a.stride, item.keys, a.size, values);
    if (index + 1 < last_item) {
      const Item next = item_of(a, index + 1);
      const std::int64_t next_corner = next.first_key * a.stride + next.head * a.size;
      prefetch<0>(a.query + next.begin * a.stride + next.head * a.size, a.stride, next.length, a.size);
      prefetch<0>(a.key + next_corner, a.stride, next.keys, a.size);
      prefetch<0>(a.value + next_corner, a.stride, next.keys, a.size);
    }
    key_columns.stride = scores.stride = probabilities.stride = width;
    pair_columns(from(keys, 0), width, key_columns);
    pair_rows(from(values, 0), width, value_pairs);
    KeepStream<std::uint16_t> stream(a.dropout, first_element(a, item), keep_bits);
    for (std::int64_t first = 0; first < item.length; first += kBlock) {
      const std::int64_t rows = std::min(kBlock, item.length - first);
      multiply<false>(from(queries, first), rows, from(key_columns, 0), width, size, scores);
      float normalizers[kBlock];
      for (std::int64_t r = 0; r < rows; ++r) {
        const auto* row_bits = keep.drops() ? stream.next(item.keys) : keep_bits;
        const auto row = softmax(scores.row(r), item.keys, a.scale, keep, row_bits, probabilities.row(r));
        normalizers[r] = keep_factor / row.sum;
        if (a.log_sum != nullptr) a.log_sum[(item.begin + first + r) * a.heads + item.head] = row.log_sum;
      }
      multiply<false>(from(probabilities, 0), rows, from(value_pairs, 0), size, width, outputs);
      for (std::int64_t r = 0; r < rows; ++r) {
        narrow_times(outputs.row(r), normalizers[r], a.size,
                     a.output + (item.begin + first + r) * hidden + item.head * a.size);
      }
    }
  }
}

void attention_backward(const Attention<float, BFloat16>& a, std::int64_t first_item, std::int64_t last_item) {
  const std::int64_t longest = in_blocks(a.max_keys);
  const std::int64_t size = in_blocks(a.size);
  Matrices<BFloat16> brains{Scratch<BFloat16>(6 * longest * size + kBlock * longest)};
  const auto queries = brains.take(longest, size);
  const auto keys = brains.take(longest, size);
  const auto values = brains.take(longest, size);
  const auto upstream = brains.take(longest, size);
  auto query_columns = brains.take(size, longest);
  auto upstream_columns = brains.take(size, longest);
  auto score_gradients = brains.take(kBlock, longest);
  Matrices<std::uint32_t> words{Scratch<std::uint32_t>(2 * longest * size + kBlock * longest)};
  auto key_columns = words.take(size / 2, longest);
  auto value_columns = words.take(size / 2, longest);
  const auto key_pairs = words.take(longest / 2, size);
  const auto row_pairs = words.take(longest / 2, size);
  auto kept_pairs = words.take(kBlock / 2, longest);
  auto gradient_pairs = words.take(kBlock / 2, longest);
  Matrices<float> floats{Scratch<float>(2 * kBlock * longest + kBlock * size + 2 * longest * size)};
  auto scores = floats.take(kBlock, longest);
  auto gradients = floats.take(kBlock, longest);
  const auto query_gradients = floats.take(kBlock, size);
  auto key_gradient_columns = floats.take(size, longest);
  auto value_gradient_columns = floats.take(size, longest);
  Scratch<std::uint16_t> bits(KeepStream<std::uint16_t>::buffer_size(2 * longest + kBlock));
  std::uint16_t* const keep_bits = bits.take(0);
  const Keep keep(a.dropout);
  const auto keep_factor = static_cast<float>(keep.drops() ? keep_scale(a.dropout) : 1);
  const std::int64_t hidden = a.heads * a.size;
  const MatrixUnit unit;
  for (std::int64_t index = first_item; index < last_item; ++index) {
    const Item item = item_of(a, index);
    if (item.length == 0) continue;
    const std::int64_t width = in_blocks(item.keys);
    const std::int64_t length = in_blocks(item.length);
    const std::int64_t key_corner = item.first_key * a.stride + item.head * a.size;
    const std::int64_t plain_corner = item.begin * hidden + item.head * a.size;
    const std::int64_t gradient_corner = item.begin * a.gradient_stride + item.head * a.size;
    const std::int64_t key_gradient_corner = item.first_key * a.gradient_stride + item.head * a.size;
    gather(a.query + item.begin * a.stride + item.head * a.size, a.stride, item.length, a.size, queries);
    gather(a.key + key_corner, a.stride, item.keys, a.size, keys);
    gather(a.value + key_corner, a.stride, item.keys, a.size, values);
    gather(a.output_gradient + plain_corner, hidden, item.length, a.size, upstream);
    if (index + 1 < last_item) {
      const Item next = item_of(a, index + 1);
      const std::int64_t next_corner = next.first_key * a.stride + next.head * a.size;
      const std::int64_t next_plain = next.begin * hidden + next.head * a.size;
      const std::int64_t next_gradient = next.first_key * a.gradient_stride + next.head * a.size;
      prefetch<0>(a.query + next.begin * a.stride + next.head * a.size, a.stride, next.length, a.size);
      prefetch<0>(a.key + next_corner, a.stride, next.keys, a.size);
      prefetch<0>(a.value + next_corner, a.stride, next.keys, a.size);
      prefetch<0>(a.output_gradient + next_plain, hidden, next.length, a.size);
      prefetch<0>(a.output + next_plain, hidden, next.length, a.size);
      prefetch<1>(a.key_gradient + next_gradient, a.gradient_stride, next.keys, a.size);
      prefetch<1>(a.value_gradient + next_gradient, a.gradient_stride, next.keys, a.size);
    }
    for (auto* matrix : {&scores, &gradients, &key_gradient_columns, &value_gradient_columns}) matrix->stride = width;
    for (auto* matrix : {&key_columns, &value_columns, &kept_pairs, &gradient_pairs}) matrix->stride = width;
    score_gradients.stride = width;
    query_columns.stride = upstream_columns.stride = length;
    pair_columns(from(keys, 0), width, key_columns);
    pair_columns(from(values, 0), width, value_columns);
    pair_rows(from(keys, 0), width, key_pairs);
    pair_rows(from(queries, 0), length, row_pairs);
    transpose_pairs(from(row_pairs, 0), length, query_columns);
    pair_rows(from(upstream, 0), length, row_pairs);
    transpose_pairs(from(row_pairs, 0), length, upstream_columns);
    KeepStream<std::uint16_t> stream(a.dropout, first_element(a, item), keep_bits);
    for (std::int64_t first = 0; first < item.length; first += kBlock) {
      const std::int64_t rows = std::min(kBlock, item.length - first);
      multiply<false>(from(queries, first), rows, from(key_columns, 0), width, size, scores);
      multiply<false>(from(upstream, first), rows, from(value_columns, 0), width, size, gradients);
      const auto row_of = [&](std::int64_t r, const std::uint16_t* row_bits) {
        const std::int64_t token = item.begin + first + r;
        const bool exists = r < rows;
        // The row sum of probability times its gradient is output times output gradient (Dao et al., 2022, eq. 4), and
        // stays so under dropout.
        return BackwardRow{
            .scores = scores.row(r),
            .gradients = gradients.row(r),
            .bits = row_bits,
            .log_sum = exists ? a.log_sum[token * a.heads + item.head] : 0,
            .delta = exists ? dot(upstream.row(first + r), a.output + token * hidden + item.head * a.size, a.size) : 0,
            .exists = exists,
            .score_gradients = score_gradients.row(r)};
      };
      std::int64_t r = 0;
      for (; r < rows; r += 2) {
        const std::int64_t pair = std::min<std::int64_t>(2, rows - r);
        const auto* pair_bits = keep.drops() ? stream.next(pair * item.keys) : keep_bits;
        differentiate_pair(row_of(r, pair_bits), row_of(r + 1, pair_bits + (pair - 1) * (keep.drops() ? item.keys : 0)),
                           item.keys, width, a.scale, keep, keep_factor, kept_pairs.row(r / 2),
                           gradient_pairs.row(r / 2));
      }
      for (; r < kBlock; r += 2) {
        std::fill_n(kept_pairs.row(r / 2), width, 0U);
        std::fill_n(gradient_pairs.row(r / 2), width, 0U);
      }
      multiply<false>(from(score_gradients, 0), rows, from(key_pairs, 0), size, width, query_gradients);
      for (r = 0; r < rows; ++r) {
        narrow_times(query_gradients.row(r), a.scale, a.size,
                     a.query_gradient + gradient_corner + (first + r) * a.gradient_stride);
      }
      const Matrix<const BFloat16> query_block{query_columns.first + first, query_columns.stride};
      const Matrix<const BFloat16> upstream_block{upstream_columns.first + first, upstream_columns.stride};
      const auto sum = first == 0 ? multiply<false> : multiply<true>;
      sum(query_block, size, from(gradient_pairs, 0), width, kBlock, key_gradient_columns);
      sum(upstream_block, size, from(kept_pairs, 0), width, kBlock, value_gradient_columns);
    }
    narrow_columns(from(key_gradient_columns, 0), width, a.scale, key_columns.first, value_columns.first, size,
                   a.key_gradient + key_gradient_corner, a.gradient_stride, item.keys, a.size);
    narrow_columns(from(value_gradient_columns, 0), width, keep_factor, key_columns.first, value_columns.first, size,
                   a.value_gradient + key_gradient_corner, a.gradient_stride, item.keys, a.size);
  }
}

}  // namespace dtrain::model::kernels::DTRAIN_ISA
