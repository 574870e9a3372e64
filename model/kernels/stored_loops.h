#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>

#include "model/kernels/loops.h"

// Part of loops.cpp, compiled once for each instruction set.
namespace dtrain::model::kernels::DTRAIN_ISA {
namespace {

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
  Rows from(std::int64_t index) const { return {row(index), stride}; }
};

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

}  // namespace
}  // namespace dtrain::model::kernels::DTRAIN_ISA
