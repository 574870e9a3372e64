#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace dtrain::train {

/// The energy that a node's processor packages and memory take, from the kernel's powercap counters (RAPL), whoever
/// works there. Nothing where the node has none, or where they are not for this user to read.
class EnergyMeter {
 public:
  /// `counters`: /sys/class/powercap; empty: this meter measures nothing.
  explicit EnergyMeter(const std::filesystem::path& counters);

  /// Since it exists. To be asked every few minutes, because the counters wrap around.
  std::optional<double> joules();
  /// The same, read at most once a second: costs nothing at each step.
  void tick();

 private:
  struct Zone {
    std::filesystem::path file;
    std::int64_t range = 0;  // microjoules after which it begins anew
    std::int64_t last = 0;
  };
  void read();

  std::vector<Zone> zones_;
  double microjoules_ = 0;
  std::chrono::steady_clock::time_point last_read_ = std::chrono::steady_clock::now();
};

}  // namespace dtrain::train
