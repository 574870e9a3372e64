#pragma once

#include <c10/core/Device.h>

#include <optional>
#include <string>
#include <vector>

#include "dist/communicator.h"

namespace dtrain::launcher {

/// The number of the GPU of `rank`, or nothing where no rank sees one. `seen[r]` is "NODE: GPU,GPU" for each rank r,
/// and `gpus` how many this rank sees; ranks that see the same ones share them out, at most `ranks_per_gpu` each.
/// Throws UsageError where some ranks see none, or there are more ranks than that.
std::optional<int> gpu_of_rank(const std::vector<std::string>& seen, int rank, int gpus, int ranks_per_gpu);

/// Whether `rank` is the lowest of those that compute on its GPU. `used[r]` is "NODE: BUS_ID" for each rank r.
bool is_first_on_gpu(const std::vector<std::string>& used, int rank);

/// The device of a rank.
struct DeviceChoice {
  at::Device device = at::Device("cpu");
  /// Whether ranks share a GPU, so that NCCL does not join them.
  bool is_shared = false;
  /// The PCI bus id of the GPU whose energy this rank reads; empty where a lower rank computes on the same one, or
  /// none.
  std::string energy_of_gpu = {};
};

/// The device that this rank computes on. `asked`: auto, cpu or cuda; `node`: the lowest rank on this node;
/// `ranks_per_gpu` as above. Collective. Throws UsageError, as above, and where cuda is asked for and there is none.
DeviceChoice choose_device(dist::Communicator& control, int node, const std::string& asked, int ranks_per_gpu);

}  // namespace dtrain::launcher
