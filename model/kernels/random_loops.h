#pragma once

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

// A word decides about two elements.
constexpr std::int64_t kKeepBlock = 8 * kPhiloxBlocks;
constexpr std::int64_t keep_width(std::int64_t count) { return (count + kKeepBlock - 1) / kKeepBlock * kKeepBlock; }

// keep[i] = 1 / (1 - p) or 0 for the elements first + i, i < kKeepBlock; `first` is a multiple of that. p is rounded to
// 1 / 65536, and the scale follows the rounded one.
template <typename Real>
inline void keep_factors(const Dropout& dropout, std::uint64_t first, Real* __restrict keep) {
  alignas(64) std::uint32_t words[4 * kPhiloxBlocks];
  alignas(64) std::uint16_t halves[kKeepBlock];
  philox(dropout, first / 8, words);
  std::memcpy(halves, words, sizeof halves);
  const auto threshold = static_cast<std::uint16_t>(std::min(dropout.probability * 65536.0 + 0.5, 65535.0));
  const Real scale = static_cast<Real>(1 / (1 - static_cast<double>(threshold) / 65536.0));
#pragma omp simd
  for (std::int64_t i = 0; i < kKeepBlock; ++i) keep[i] = halves[i] >= threshold ? scale : Real{0};
}

// The factors of one element after the other.
template <typename Real>
class KeepStream {
 public:
  // `buffer` holds buffer_size(most) factors, where no `next` asks for more than `most`.
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
