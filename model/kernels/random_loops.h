#pragma once

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "model/kernels/loops.h"

// Part of loops.cpp, compiled once for each instruction set.
namespace dtrain::model::kernels::DTRAIN_ISA {
namespace {

constexpr std::int64_t kPhiloxBlocks = 16;

// 4 * kPhiloxBlocks random words for the elements [4 * block, 4 * (block + kPhiloxBlocks)), element 4 * b + w at
// words[w * kPhiloxBlocks + b].
inline void philox(const Dropout& dropout, std::uint64_t block, std::uint32_t* __restrict words) {
  std::uint32_t* c0 = words;
  std::uint32_t* c1 = words + kPhiloxBlocks;
  std::uint32_t* c2 = words + 2 * kPhiloxBlocks;
  std::uint32_t* c3 = words + 3 * kPhiloxBlocks;
#if defined(__AVX512F__)
  // GCC multiplies 64 by 64 bits here, which takes three times as long: the even and the odd lanes of a product apart.
  const auto product = [](__m512i x, std::uint32_t factor, __m512i& high, __m512i& low) {
    const __m512i factors = _mm512_set1_epi64(factor);
    const __m512i even = _mm512_mul_epu32(x, factors);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), factors);
    high = _mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xAAAA, odd);
    low = _mm512_mask_mov_epi32(even, 0xAAAA, _mm512_slli_epi64(odd, 32));
  };
  const auto lane_blocks = [&](std::uint64_t first) {
    return _mm512_add_epi64(_mm512_set1_epi64(static_cast<std::int64_t>(first)),
                            _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0));
  };
  const __m512i lower_blocks = lane_blocks(block);
  const __m512i upper_blocks = lane_blocks(block + 8);
  const __m512i low_words = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  const __m512i high_words = _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
  __m512i x0 = _mm512_permutex2var_epi32(lower_blocks, low_words, upper_blocks);
  __m512i x1 = _mm512_permutex2var_epi32(lower_blocks, high_words, upper_blocks);
  __m512i x2 = _mm512_set1_epi32(static_cast<std::int32_t>(dropout.site));
  __m512i x3 = _mm512_setzero_si512();
  std::uint32_t k0 = static_cast<std::uint32_t>(dropout.key);
  std::uint32_t k1 = static_cast<std::uint32_t>(dropout.key >> 32);
  for (int round = 0; round < 7; ++round) {
    __m512i high0;
    __m512i low0;
    __m512i high1;
    __m512i low1;
    product(x0, 0xD2511F53U, high0, low0);
    product(x2, 0xCD9E8D57U, high1, low1);
    x0 = _mm512_ternarylogic_epi32(high1, x1, _mm512_set1_epi32(static_cast<std::int32_t>(k0)), 0x96);
    x2 = _mm512_ternarylogic_epi32(high0, x3, _mm512_set1_epi32(static_cast<std::int32_t>(k1)), 0x96);
    x1 = low1;
    x3 = low0;
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  _mm512_storeu_si512(c0, x0);
  _mm512_storeu_si512(c1, x1);
  _mm512_storeu_si512(c2, x2);
  _mm512_storeu_si512(c3, x3);
#else
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
#endif
}

// A word decides about two elements.
constexpr std::int64_t kKeepBlock = 8 * kPhiloxBlocks;
constexpr std::int64_t keep_width(std::int64_t count) { return (count + kKeepBlock - 1) / kKeepBlock * kKeepBlock; }

// An element stays where its 16 bits are no less than this: p is rounded to 1 / 65536.
inline std::uint16_t keep_threshold(const Dropout& dropout) {
  return static_cast<std::uint16_t>(std::min(dropout.probability * 65536.0 + 0.5, 65535.0));
}

// What an element that stays is multiplied by: 1 / (1 - p), p as it was rounded.
inline double keep_scale(const Dropout& dropout) {
  return 1 / (1 - static_cast<double>(keep_threshold(dropout)) / 65536.0);
}

// The 16 bits of each of the elements first + i, i < kKeepBlock; `first` is a multiple of that.
inline void keep_factors(const Dropout& dropout, std::uint64_t first, std::uint16_t* __restrict bits) {
  alignas(64) std::uint32_t words[4 * kPhiloxBlocks];
  philox(dropout, first / 8, words);
  std::memcpy(bits, words, sizeof words);
}

// keep_scale or 0 for each of these elements.
template <typename Real>
inline void keep_factors(const Dropout& dropout, std::uint64_t first, Real* __restrict keep) {
  alignas(64) std::uint16_t halves[kKeepBlock];
  keep_factors(dropout, first, halves);
  const std::uint16_t threshold = keep_threshold(dropout);
  const Real scale = static_cast<Real>(keep_scale(dropout));
#pragma omp simd
  for (std::int64_t i = 0; i < kKeepBlock; ++i) keep[i] = halves[i] >= threshold ? scale : Real{0};
}

// The factors, or the 16 bits, of one element after the other.
template <typename Real>
class KeepStream {
 public:
  // `buffer` holds buffer_size(most) of them, where no `next` asks for more than `most`.
  KeepStream(const Dropout& dropout, std::uint64_t first, Real* buffer)
      : dropout_(dropout), next_(first), buffer_(buffer) {}

  static constexpr std::int64_t buffer_size(std::int64_t most) { return keep_width(most) + kKeepBlock; }

  const Real* next(std::int64_t count) {
    if (end_ - begin_ < count) {
      std::memmove(buffer_, buffer_ + begin_, sizeof(Real) * static_cast<std::size_t>(end_ - begin_));
      end_ -= begin_;
      begin_ = 0;
      for (; end_ < count; end_ += kKeepBlock, next_ += kKeepBlock) keep_factors(dropout_, next_, buffer_ + end_);
    }
    begin_ += count;
    return buffer_ + begin_ - count;
  }

 private:
  const Dropout& dropout_;
  std::uint64_t next_;
  Real* buffer_;
  std::int64_t begin_ = 0;
  std::int64_t end_ = 0;
};

}  // namespace
}  // namespace dtrain::model::kernels::DTRAIN_ISA
