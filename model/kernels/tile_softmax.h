#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <numbers>

#include "model/kernels/loops.h"
#include "model/kernels/random_loops.h"
#include "model/kernels/tile_matmul.h"

// Rows of scores in float to probabilities in bfloat16 with dropout, and back, with AVX-512 between matmuls of tiles.
// Part of amx_attention.cpp.
namespace dtrain::model::kernels::DTRAIN_ISA {
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

// The lanes j + lane < count.
inline __mmask16 lanes_before(std::int64_t count, std::int64_t j) {
  return static_cast<__mmask16>(words_before(count, j));
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

}  // namespace
}  // namespace dtrain::model::kernels::DTRAIN_ISA
