#include "launcher/session/device.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>

#include "base/error.h"
#include "dist/nccl/nccl_communicator.h"
#include "launcher/session/agreement.h"
#include "launcher/session/placement.h"

namespace dtrain::launcher {

std::optional<int> gpu_of_rank(const std::vector<std::string>& seen, int rank, int gpus, int ranks_per_gpu) {
  const auto sees_none = [](const std::string& text) { return text.ends_with(": "); };
  if (std::all_of(seen.begin(), seen.end(), sees_none)) return std::nullopt;
  if (const auto blind = std::find_if(seen.begin(), seen.end(), sees_none); blind != seen.end()) {
    throw UsageError(
        fmt::format("rank {} sees no GPU, others do; use --device cpu, or nodes that are alike", blind - seen.begin()));
  }
  const Place place = place_among_equals(seen, rank);
  if (place.count > static_cast<std::int64_t>(gpus) * ranks_per_gpu) {
    throw UsageError(fmt::format("{} ranks on this node, but {} GPU{}: start {} a GPU, or use --device cpu",
                                 place.count, gpus, gpus == 1 ? "" : "s",
                                 ranks_per_gpu == 1 ? "one rank" : fmt::format("at most {} ranks", ranks_per_gpu)));
  }
  return place.index % gpus;
}

bool is_first_on_gpu(const std::vector<std::string>& used, int rank) {
  return place_among_equals(used, rank).index == 0;
}

DeviceChoice choose_device(dist::Communicator& control, int node, const std::string& asked, int ranks_per_gpu) {
  const auto gpus = asked == "cpu" ? std::vector<std::string>() : dist::visible_gpus();
  if (asked == "cuda" && gpus.empty()) throw UsageError("--device cuda: no GPU is visible here");
  const auto seen = gather_texts(control, fmt::format("{}: {}", node, fmt::join(gpus, ",")));
  // NCCL shares a GPU between ranks only where it is told to.
  const bool nccl_shares = std::getenv("NCCL_MULTI_RANK_GPU_ENABLE") != nullptr;
  const int most = nccl_shares ? std::numeric_limits<int>::max() : ranks_per_gpu;
  const auto gpu = gpu_of_rank(seen, control.rank(), static_cast<int>(gpus.size()), most);
  if (!gpu) return {};
  const auto is_crowded = [&](std::size_t rank) {
    return place_among_equals(seen, static_cast<int>(rank)).count > static_cast<int>(gpus.size());
  };
  bool is_shared = false;
  for (std::size_t rank = 0; rank < seen.size() && !nccl_shares; ++rank) is_shared = is_shared || is_crowded(rank);
  const std::string bus_id = dist::gpu_bus_id(*gpu);
  const auto used = gather_texts(control, fmt::format("{}: {}", node, bus_id));
  return {at::Device(at::kCUDA, static_cast<at::DeviceIndex>(*gpu)), is_shared,
          is_first_on_gpu(used, control.rank()) ? bus_id : ""};
}

}  // namespace dtrain::launcher
