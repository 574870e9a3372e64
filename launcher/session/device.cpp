#include "launcher/session/device.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "dist/nccl/nccl_communicator.h"
#include "launcher/session/agreement.h"
#include "launcher/session/placement.h"

namespace dtrain::launcher {

std::optional<int> gpu_of_rank(const std::vector<std::string>& seen, int rank, int gpus, bool may_share) {
  const auto sees_none = [](const std::string& text) { return text.ends_with(": "); };
  if (std::all_of(seen.begin(), seen.end(), sees_none)) return std::nullopt;
  if (const auto blind = std::find_if(seen.begin(), seen.end(), sees_none); blind != seen.end()) {
    throw UsageError(
        fmt::format("rank {} sees no GPU, others do; use --device cpu, or nodes that are alike", blind - seen.begin()));
  }
  const Place place = place_among_equals(seen, rank);
  if (place.count > gpus && !may_share) {
    throw UsageError(fmt::format("{} ranks on this node, but {} GPU{}: start one rank a GPU, or use --device cpu",
                                 place.count, gpus, gpus == 1 ? "" : "s"));
  }
  return place.index % gpus;
}

at::Device choose_device(dist::Communicator& control, int node, const std::string& asked) {
  const auto gpus = asked == "cpu" ? std::vector<std::string>() : dist::visible_gpus();
  if (asked == "cuda" && gpus.empty()) throw UsageError("--device cuda: no GPU is visible here");
  const auto seen = gather_texts(control, fmt::format("{}: {}", node, fmt::join(gpus, ",")));
  // NCCL shares a GPU between ranks only where it is told to.
  const bool may_share = std::getenv("NCCL_MULTI_RANK_GPU_ENABLE") != nullptr;
  const auto gpu = gpu_of_rank(seen, control.rank(), static_cast<int>(gpus.size()), may_share);
  return gpu ? at::Device(at::kCUDA, static_cast<at::DeviceIndex>(*gpu)) : at::Device(at::kCPU);
}

}  // namespace dtrain::launcher
