#pragma once

#include <string>
#include <vector>

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

/// The loops as compiled for one instruction set.
struct InstructionSetLoops {
  std::string name;
  const Loops<float>* floats;
  const Loops<double>* doubles;
  const Loops<float, BFloat16>* bfloat16s;
};

inline void PrintTo(const InstructionSetLoops& loops, std::ostream* stream) { *stream << loops.name; }

/// Those that this machine can run, the plainest first.
inline std::vector<InstructionSetLoops> instruction_sets() {
  std::vector<InstructionSetLoops> sets = {
      {"baseline", &baseline::float_loops, &baseline::double_loops, &baseline::bfloat16_loops}};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    sets.push_back({"avx2", &avx2::float_loops, &avx2::double_loops, &avx2::bfloat16_loops});
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    sets.push_back({"avx512", &avx512::float_loops, &avx512::double_loops, &avx512::bfloat16_loops});
  }
  return sets;
}

}  // namespace dtrain::model::kernels
