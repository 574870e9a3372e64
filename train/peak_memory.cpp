#include "train/peak_memory.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>

namespace dtrain::train {
namespace {

// Of a process, proc(5): VmRSS now, VmHWM at its peak, RssFile of VmRSS. 0 where there is none.
std::int64_t status_bytes(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name)) return std::stoll(line.substr(name.size())) * 1024;
  }
  return 0;
}

c10::CachingAllocator::Stat allocated_bytes(at::Device device) {
  const auto statistics = at::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  return statistics.allocated_bytes[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
}

}  // namespace

PeakMemory::PeakMemory(model::Classifier& classifier, at::Device device) : device_(device) {
  const auto stored = classifier.stored_parameters();
  const std::set<const model::Parameter*> base(stored.begin(), stored.end());
  for (const model::Parameter* parameter : classifier.parameters()) {
    const auto bytes = static_cast<std::int64_t>(parameter->value().nbytes());
    weights_ += bytes;
    if (base.count(parameter) > 0) base_ += bytes;
  }
  if (!device.is_cpu()) {
    at::getDeviceAllocator(device.type())->resetPeakStats(device.index());
    allocated_ = allocated_bytes(device).current;
  }
  // What earlier runs have freed is still resident, and this one would take it again unnoticed.
  malloc_trim(0);
  // 5 sets the high-water mark back to the present resident set.
  std::ofstream("/proc/self/clear_refs") << "5";
  resident_ = status_bytes("VmRSS:");
  files_ = status_bytes("RssFile:");
}

std::int64_t PeakMemory::bytes() const {
  if (device_.is_cpu()) return weights_ + resident_bytes();
  return weights_ + std::max<std::int64_t>(0, allocated_bytes(device_).peak - allocated_);
}

std::optional<std::int64_t> PeakMemory::host_bytes() const {
  return device_.is_cpu() ? std::nullopt : std::optional(resident_bytes());
}

std::int64_t PeakMemory::resident_bytes() const {
  const std::int64_t files = status_bytes("RssFile:") - files_;
  return std::max<std::int64_t>(0, status_bytes("VmHWM:") - files - resident_);
}

}  // namespace dtrain::train
