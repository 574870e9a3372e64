#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>

namespace dtrain::dist {

/// What the numbers of a gradient are on their way between ranks.
enum class WireFormat {
  /// What they were computed as: float.
  fp32,
  /// Rounded to bfloat16 (to nearest, ties to even) before they leave: half the bytes in float's range. Every addition
  /// on the way rounds again. A sum over n ranks is off by at most (1 + 2^-8)^n - 1 times the sum of the absolute
  /// values.
  bf16,
};

/// The type that numbers of type `computed` travel as.
inline at::ScalarType wire_type(WireFormat format, at::ScalarType computed) {
  return format == WireFormat::bf16 ? at::kBFloat16 : computed;
}

/// What so many floats take there.
inline std::int64_t wire_bytes(WireFormat format, std::int64_t floats) {
  return floats * static_cast<std::int64_t>(c10::elementSize(wire_type(format, at::kFloat)));
}

/// "fp32" or "bf16".
inline const char* wire_format_name(WireFormat format) { return format == WireFormat::bf16 ? "bf16" : "fp32"; }

}  // namespace dtrain::dist
