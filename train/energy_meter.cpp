#include "train/energy_meter.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <system_error>

namespace dtrain::train {
namespace {

namespace fs = std::filesystem;

std::optional<std::int64_t> number_in(const fs::path& path) {
  std::ifstream file(path);
  std::int64_t number = 0;
  if (file >> number) return number;
  return std::nullopt;
}

// A package holds its cores and graphics, not its memory. Other zones (psys) hold packages once more.
bool is_counted(const fs::path& zone) {
  std::ifstream file(zone / "name");
  std::string name;
  std::getline(file, name);
  return name.starts_with("package") || name == "dram";
}

}  // namespace

EnergyMeter::EnergyMeter(const fs::path& counters) {
  if (counters.empty()) return;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(counters, error)) {
    // intel-rapl-mmio counts the same once more; AMD's are here, too.
    if (!entry.path().filename().string().starts_with("intel-rapl:") || !is_counted(entry.path())) continue;
    const auto now = number_in(entry.path() / "energy_uj");
    const auto range = number_in(entry.path() / "max_energy_range_uj");
    if (!now || !range) {
      zones_.clear();
      return;
    }
    zones_.push_back({entry.path() / "energy_uj", *range, *now});
  }
}

void EnergyMeter::read() {
  last_read_ = std::chrono::steady_clock::now();
  for (Zone& zone : zones_) {
    const std::int64_t now = number_in(zone.file).value_or(zone.last);
    const std::int64_t difference = now - zone.last;
    microjoules_ += static_cast<double>(difference < 0 ? difference + zone.range : difference);
    zone.last = now;
  }
}

void EnergyMeter::tick() {
  if (std::chrono::steady_clock::now() - last_read_ > std::chrono::seconds(1)) read();
}

std::optional<double> EnergyMeter::joules() {
  if (zones_.empty()) return std::nullopt;
  read();
  return microjoules_ / 1e6;
}

}  // namespace dtrain::train
