#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "dist/communicator.h"

namespace dtrain::dist {

/// Whether this build has NCCL (DTRAIN_CUDA=ON).
bool nccl_is_compiled_in();

/// NCCL's version as "2.28.9", or "" without it.
std::string nccl_version();

/// The GPUs that this process may use, in the order of their device numbers, by names that are the same in every
/// process of a node (their UUIDs). Empty where there are none, and in a build without CUDA.
std::vector<std::string> visible_gpus();

/// The place of the GPU with that device number on the PCI bus, "00000000:3b:00.0": the same for all parts of a GPU
/// that is split (MIG). Empty in a build without CUDA.
std::string gpu_bus_id(int device);

/// CUDA tensors over NCCL, on the current device of this rank. Collective over `control` (host tensors), which carries
/// the unique id and must outlive the result. Non-blocking initialisation; the stream and asynchronous errors are
/// polled against `timeout`, and a failure aborts the communicator. Throws UsageError in a build without NCCL.
std::unique_ptr<Communicator> make_nccl_communicator(Communicator& control, std::chrono::milliseconds timeout);

}  // namespace dtrain::dist
