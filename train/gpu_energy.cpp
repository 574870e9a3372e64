#include "train/gpu_energy.h"

#include <dlfcn.h>

namespace dtrain::train {
namespace {

// As in nvml.h, which comes with the CUDA toolkit alone.
constexpr int kSuccess = 0;

template <typename Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

}  // namespace

GpuEnergyCounter::GpuEnergyCounter(const std::string& bus_id, const std::string& library)
    : library_(dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL), dlclose) {
  if (!library_) return;
  int (*initialise)() = nullptr;
  int (*shut_down)() = nullptr;
  int (*device_at)(const char* bus_id, void** device) = nullptr;
  int (*read)(void* device, unsigned long long* millijoules) = nullptr;
  if (!find(library_.get(), "nvmlInit_v2", initialise) || !find(library_.get(), "nvmlShutdown", shut_down) ||
      !find(library_.get(), "nvmlDeviceGetHandleByPciBusId_v2", device_at) ||
      !find(library_.get(), "nvmlDeviceGetTotalEnergyConsumption", read))
    return;
  if (initialise() != kSuccess) return;
  shut_down_ = shut_down;
  if (device_at(bus_id.c_str(), &device_) == kSuccess) read_ = read;
}

GpuEnergyCounter::~GpuEnergyCounter() {
  if (shut_down_ != nullptr) shut_down_();
}

std::optional<double> GpuEnergyCounter::joules() const {
  unsigned long long millijoules = 0;
  if (read_ == nullptr || read_(device_, &millijoules) != kSuccess) return std::nullopt;
  return static_cast<double>(millijoules) / 1e3;
}

}  // namespace dtrain::train
