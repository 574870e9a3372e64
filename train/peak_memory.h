#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace dtrain::train {

/// The most memory this rank held since reset_peak_memory: resident bytes of the process on the CPU, allocated bytes on
/// a GPU.
std::int64_t peak_memory_bytes(at::Device device);
void reset_peak_memory(at::Device device);

}  // namespace dtrain::train
