// GoogleTest's main for tests that compute on DTRAIN_TEST_DEVICE: where that is not here they have not run, and CTest
// says so ("Skipped", by the exit code 77).

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const char* device = std::getenv("DTRAIN_TEST_DEVICE");
  if (device != nullptr && std::string(device) != "cpu" && !at::hasCUDA()) {
    std::puts("not run: no GPU is visible here");
    return 77;
  }
  at::globalContext().setAllowTF32CuDNN(false);
  return RUN_ALL_TESTS();
}
