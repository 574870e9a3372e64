// A library that has of the driver's NVML what dtrain calls, and answers as the test says.

#include "tests/train/fake_nvml.h"

namespace {

constexpr int kUninitialised = 1;  // NVML_ERROR_UNINITIALIZED
constexpr int kInvalid = 2;        // NVML_ERROR_INVALID_ARGUMENT
int gpu;

}  // namespace

extern "C" {

dtrain::train::FakeNvml fake_nvml;

int nvmlInit_v2() {
  if (fake_nvml.initialised == 0) ++fake_nvml.users;
  return fake_nvml.initialised;
}

int nvmlShutdown() {
  if (fake_nvml.users == 0) return kUninitialised;
  --fake_nvml.users;
  return 0;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id, void** device) {
  if (fake_nvml.users == 0) return kUninitialised;
  fake_nvml.bus_id = bus_id;
  if (fake_nvml.found == 0) *device = &gpu;
  return fake_nvml.found;
}

#ifndef WITHOUT_ENERGY
int nvmlDeviceGetTotalEnergyConsumption(void* device, unsigned long long* millijoules) {
  if (fake_nvml.users == 0) return kUninitialised;
  if (device != &gpu) return kInvalid;
  if (fake_nvml.read == 0) *millijoules = fake_nvml.millijoules;
  return fake_nvml.read;
}
#endif
}
