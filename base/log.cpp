#include "base/log.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

namespace dtrain {

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds)) return "unknown";
  if (seconds < 0) return "-" + duration_text(-seconds);
  // A number that would be rounded up to the next unit is shown in that one.
  if (seconds < 0.0009995) return fmt::format("{:.0f} us", seconds * 1e6);
  if (seconds < 0.9995) return fmt::format("{:.0f} ms", seconds * 1e3);
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<long long>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

std::string bytes_text(double bytes) {
  constexpr std::array units = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= (unit == 0 ? 1023.5 : 1023.95) && unit + 1 < units.size()) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, units[unit]);
}

std::string flop_text(double flop) {
  if (!std::isfinite(flop)) return "unknown";
  constexpr std::array units = {"FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"};
  std::size_t unit = 0;
  while (flop >= (unit == 0 ? 999.5 : 999.95) && unit + 1 < units.size()) {
    flop /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} FLOP", flop) : fmt::format("{:.1f} {}", flop, units[unit]);
}

std::string count_text(long long count) {
  const auto positive = static_cast<unsigned long long>(count);
  std::string text = std::to_string(count < 0 ? 0 - positive : positive);
  for (auto position = static_cast<long long>(text.size()) - 3; position > 0; position -= 3) {
    text.insert(static_cast<std::size_t>(position), ",");
  }
  return count < 0 ? "-" + text : text;
}

}  // namespace dtrain
