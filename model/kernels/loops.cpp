// Compiled once for each instruction set, with DTRAIN_ISA naming its namespace.
#include "model/kernels/loops.h"

#include <algorithm>

#include "model/kernels/attention_loops.h"
#include "model/kernels/norm_loops.h"
#include "model/kernels/optimizer_loops.h"
#include "model/kernels/random_loops.h"
#include "model/kernels/reduction_loops.h"
#include "model/kernels/stored_loops.h"

namespace dtrain::model::kernels::DTRAIN_ISA {
namespace {

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
  return {attention_forward<Real, Stored>,
          attention_backward<Real, Stored>,
          norm_forward<Real, Stored>,
          norm_backward<Real, Stored>,
          dropout<Real, Stored>,
          sum_rows<Real, Stored>,
          sum_of_squares<Real>,
          adamw<Real, Stored>,
          scale<Real>};
}

}  // namespace

extern const Loops<float> float_loops;
extern const Loops<double> double_loops;
extern const Loops<float, BFloat16> bfloat16_loops;
const Loops<float> float_loops = table<float>();
const Loops<double> double_loops = table<double>();
const Loops<float, BFloat16> bfloat16_loops = table<float, BFloat16>();

}  // namespace dtrain::model::kernels::DTRAIN_ISA
