#include "base/error.h"
#include "dist/nccl/nccl_communicator.h"

// What a build without DTRAIN_CUDA links in place of nccl_communicator.cpp.
namespace dtrain::dist {

bool nccl_is_compiled_in() { return false; }

std::string nccl_version() { return ""; }

std::vector<std::string> visible_gpus() { return {}; }

std::string gpu_bus_id(int) { return ""; }

std::unique_ptr<Communicator> make_nccl_communicator(Communicator&, std::chrono::milliseconds) {
  throw UsageError(
      "--backend nccl: this build has no NCCL. Build with -DDTRAIN_CUDA=ON, or use --backend mpi with --device cpu.");
}

}  // namespace dtrain::dist
