#include "model/kernels/loops.h"

namespace dtrain::model::kernels {

#define DTRAIN_DECLARE(isa)                           \
  namespace isa {                                     \
  extern const Loops<float> float_loops;              \
  extern const Loops<double> double_loops;            \
  extern const Loops<float, BFloat16> bfloat16_loops; \
  }
DTRAIN_DECLARE(baseline)
DTRAIN_DECLARE(avx2)
DTRAIN_DECLARE(avx512)
#undef DTRAIN_DECLARE

namespace {

enum class InstructionSet { baseline, avx2, avx512 };

InstructionSet best() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return InstructionSet::avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return InstructionSet::avx2;
  return InstructionSet::baseline;
}

}  // namespace

template <>
const Loops<float>& loops() {
  switch (best()) {
    case InstructionSet::avx512:
      return avx512::float_loops;
    case InstructionSet::avx2:
      return avx2::float_loops;
    default:
      return baseline::float_loops;
  }
}

template <>
const Loops<double>& loops() {
  switch (best()) {
    case InstructionSet::avx512:
      return avx512::double_loops;
    case InstructionSet::avx2:
      return avx2::double_loops;
    default:
      return baseline::double_loops;
  }
}

template <>
const Loops<float, BFloat16>& loops() {
  switch (best()) {
    case InstructionSet::avx512:
      return avx512::bfloat16_loops;
    case InstructionSet::avx2:
      return avx2::bfloat16_loops;
    default:
      return baseline::bfloat16_loops;
  }
}

const char* instruction_set() {
  switch (best()) {
    case InstructionSet::avx512:
      return "avx512";
    case InstructionSet::avx2:
      return "avx2";
    default:
      return "baseline";
  }
}

}  // namespace dtrain::model::kernels
