#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace dtrain {

/// Where a room sends what a person should read. The launcher gives rank 0 a sink that prints and the other ranks one
/// that drops; library code never prints by itself.
struct Log {
  /// One line of information, without its line end.
  std::function<void(std::string_view)> line = [](std::string_view) {};
  /// Something that was dropped, cut or replaced, or that the user should look at.
  std::function<void(std::string_view)> warning = [](std::string_view) {};
  /// A line that the next one may overwrite (progress with time left). An empty line clears it.
  std::function<void(std::string_view)> progress = [](std::string_view) {};
};

/// 75 -> "1 min 15 s", 0.034 -> "34 ms", 7300 -> "2 h 2 min"; "unknown" where it is not finite.
std::string duration_text(double seconds);

/// 1536 -> "1.5 KiB", 90880000 -> "86.7 MiB".
std::string bytes_text(double bytes);

/// Floating-point operations, 4.1e12 -> "4.1 TFLOP"; "unknown" where it is not finite.
std::string flop_text(double flop);

/// 22713216 -> "22,713,216".
std::string count_text(long long count);

}  // namespace dtrain
