#pragma once

#include <memory>
#include <optional>
#include <string>

namespace dtrain::train {

/// The energy that a GPU takes, whoever computes there, by NVML (the driver's library, opened when the program runs).
/// Nothing where there is no such library or where it does not tell, as of GPUs before Volta.
class GpuEnergyCounter {
 public:
  /// `bus_id`: the GPU's place on the PCI bus, "00000000:3b:00.0".
  explicit GpuEnergyCounter(const std::string& bus_id, const std::string& library = "libnvidia-ml.so.1");
  ~GpuEnergyCounter();

  /// Since the driver was loaded.
  std::optional<double> joules() const;

 private:
  std::unique_ptr<void, int (*)(void*)> library_;
  int (*shut_down_)() = nullptr;
  int (*read_)(void* device, unsigned long long* millijoules) = nullptr;
  void* device_ = nullptr;
};

}  // namespace dtrain::train
