#include "train/gpu_energy.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include "tests/train/fake_nvml.h"

namespace dtrain::train {
namespace {

constexpr const char* kBusId = "00000000:3b:00.0";

/// A library as the driver's, which stays loaded so that it can be told what to answer.
class Nvml : public testing::Test {
 protected:
  Nvml() {
    auto* found = static_cast<FakeNvml*>(dlsym(library, "fake_nvml"));
    EXPECT_NE(found, nullptr);
    nvml = found;
    *nvml = {};
  }
  ~Nvml() override {
    EXPECT_EQ(nvml->users, 0) << "not shut down";
    dlclose(library);
  }

  void* library = dlopen(DTRAIN_FAKE_NVML, RTLD_NOW);
  FakeNvml* nvml = nullptr;
};

TEST_F(Nvml, CountsUpOnTheGpuThatIsMeant) {
  nvml->millijoules = 5'000'000'000'250;  // of months
  const GpuEnergyCounter counter(kBusId, DTRAIN_FAKE_NVML);
  EXPECT_EQ(nvml->bus_id, kBusId);
  EXPECT_DOUBLE_EQ(counter.joules().value(), 5'000'000'000.25);
  nvml->millijoules += 1500;
  EXPECT_DOUBLE_EQ(counter.joules().value(), 5'000'000'001.75);
}

TEST_F(Nvml, IsInitialisedForAsLongAsItIsReadAndByEachReader) {
  {
    const GpuEnergyCounter one(kBusId, DTRAIN_FAKE_NVML);
    EXPECT_EQ(nvml->users, 1);
    { const GpuEnergyCounter other(kBusId, DTRAIN_FAKE_NVML); }
    EXPECT_EQ(nvml->users, 1);
    EXPECT_TRUE(one.joules());
  }
  EXPECT_EQ(nvml->users, 0);
}

TEST_F(Nvml, ThatReturnsAnErrorTellsNothing) {
  for (int FakeNvml::*result : {&FakeNvml::initialised, &FakeNvml::found, &FakeNvml::read}) {
    nvml->*result = 3;  // NVML_ERROR_NOT_SUPPORTED
    EXPECT_FALSE(GpuEnergyCounter(kBusId, DTRAIN_FAKE_NVML).joules());
    nvml->*result = 0;
    EXPECT_TRUE(GpuEnergyCounter(kBusId, DTRAIN_FAKE_NVML).joules());
  }
}

TEST_F(Nvml, ThatIsLostOnTheWayTellsNothingMore) {
  const GpuEnergyCounter counter(kBusId, DTRAIN_FAKE_NVML);
  EXPECT_TRUE(counter.joules());
  nvml->read = 15;  // NVML_ERROR_GPU_IS_LOST
  EXPECT_FALSE(counter.joules());
}

TEST(NvmlLibrary, ThatIsMissingOrLacksAFunctionTellsNothing) {
  EXPECT_FALSE(GpuEnergyCounter(kBusId, "/nowhere/libnvidia-ml.so.1").joules());
  void* const older = dlopen(DTRAIN_FAKE_NVML_WITHOUT_ENERGY, RTLD_NOW);
  ASSERT_NE(older, nullptr) << dlerror();
  EXPECT_FALSE(GpuEnergyCounter(kBusId, DTRAIN_FAKE_NVML_WITHOUT_ENERGY).joules());
  EXPECT_EQ(static_cast<FakeNvml*>(dlsym(older, "fake_nvml"))->users, 0);
  dlclose(older);
}

}  // namespace
}  // namespace dtrain::train
