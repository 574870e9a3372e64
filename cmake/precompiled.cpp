// What every file that uses LibTorch reads: cmake/Precompiled.cmake.
