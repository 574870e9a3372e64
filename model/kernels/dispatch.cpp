#include <sys/syscall.h>
#include <unistd.h>

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
namespace amx {
void attention_forward(const Attention<float, BFloat16>& a, std::int64_t first_item, std::int64_t last_item);
void attention_backward(const Attention<float, BFloat16>& a, std::int64_t first_item, std::int64_t last_item);
}  // namespace amx

namespace {

// Linux gives tiles to a process that asks for them (arch/x86/include/uapi/asm/prctl.h).
bool may_use_tiles() {
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;               // XFEATURE_XTILEDATA
  return __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") &&
         __builtin_cpu_supports("avx512bf16") && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

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
      if (may_use_tiles()) {
        static const Loops<float, BFloat16> bfloat16_loops = [] {
          auto loops = avx512::bfloat16_loops;
          loops.attention_forward = amx::attention_forward;
          loops.attention_backward = amx::attention_backward;
          return loops;
        }();
        found.push_back({"amx", &avx512::float_loops, &avx512::double_loops, &bfloat16_loops});
      }
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
