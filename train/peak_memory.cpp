#include "train/peak_memory.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <fstream>
#include <string>

namespace dtrain::train {

std::int64_t peak_memory_bytes(at::Device device) {
  if (!device.is_cpu()) {
    const auto statistics = at::getDeviceAllocator(device.type())->getDeviceStats(device.index());
    return statistics.allocated_bytes[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
  }
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
  }
  return 0;
}

void reset_peak_memory(at::Device device) {
  if (!device.is_cpu()) {
    at::getDeviceAllocator(device.type())->resetPeakStats(device.index());
    return;
  }
  // proc(5): 5 sets the high-water mark back to the present resident set.
  std::ofstream("/proc/self/clear_refs") << "5";
}

}  // namespace dtrain::train
