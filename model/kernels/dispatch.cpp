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

const std::vector<InstructionSet>& instruction_sets() {
  static const std::vector<InstructionSet> sets = [] {
    std::vector<InstructionSet> found = {
        {"baseline", &baseline::float_loops, &baseline::double_loops, &baseline::bfloat16_loops}};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      found.push_back({"avx2", &avx2::float_loops, &avx2::double_loops, &avx2::bfloat16_loops});
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
      found.push_back({"avx512", &avx512::float_loops, &avx512::double_loops, &avx512::bfloat16_loops});
    }
    return found;
  }();
  return sets;
}

template <>
const Loops<float>& loops() {
  return *instruction_sets().back().floats;
}

template <>
const Loops<double>& loops() {
  return *instruction_sets().back().doubles;
}

template <>
const Loops<float, BFloat16>& loops() {
  return *instruction_sets().back().bfloat16s;
}

}  // namespace dtrain::model::kernels
