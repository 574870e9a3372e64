#include "study/run/groups.h"

#include <fmt/format.h>

#include <stdexcept>

namespace dtrain::study {

Groups::Groups(const train::RunContext& world, int ranks_per_trial) : world_(world), ranks_per_trial_(ranks_per_trial) {
  if (ranks_per_trial < 1 || world.control.size() % ranks_per_trial != 0) {
    throw std::invalid_argument(fmt::format("{} ranks in groups of {}", world.control.size(), ranks_per_trial));
  }
  if (ranks_per_trial == world.control.size()) return;
  if (ranks_per_trial == 1) {
    control_ = dist::make_single_communicator();
    gradients_ = dist::make_single_communicator();
    return;
  }
  control_ = world.control.split(own());
  gradients_ = world.gradients.split(own());
}

train::RunContext Groups::context() const {
  return {.control = control_ ? *control_ : world_.control,
          .gradients = gradients_ ? *gradients_ : world_.gradients,
          .device = world_.device,
          .matmul_type = world_.matmul_type,
          .log = world_.log,
          .stop_requested = world_.stop_requested,
          .time_is_up = world_.time_is_up,
          .seconds_left = world_.seconds_left,
          .tick = world_.tick,
          .end_if_stopped = world_.end_if_stopped,
          .matmul_rate = world_.matmul_rate,
          // Nodes and GPUs that other groups work on, too, do not say what one takes.
          .energy_counters = count() == 1 ? world_.energy_counters : std::filesystem::path(),
          .gpu_joules = count() == 1 ? world_.gpu_joules : nullptr,
          .first_rank = leader(own()),
          .memory_advice = world_.memory_advice};
}

}  // namespace dtrain::study
