#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>

#include "base/log.h"
#include "dist/communicator.h"

namespace dtrain::train {

/// Where a run happens: what it holds besides its options and data.
struct RunContext {
  /// Host tensors: losses, scores, small agreements.
  dist::Communicator& control;
  /// Gradients, on `device`.
  dist::Communicator& gradients;
  at::Device device = at::Device("cpu");
  /// Of matmuls: float or bfloat16.
  at::ScalarType matmul_type = at::kFloat;
  /// Silent on every rank but the first.
  Log log;
  /// Whether a signal or the time limit asks to stop; asked once a step.
  std::function<bool()> stop_requested = [] { return false; };
  /// Whether it is the time limit that does.
  std::function<bool()> time_is_up = [] { return false; };
  /// Until the time limit itself, of which `time_is_up` keeps a reserve; a run that writes checkpoints keeps more where
  /// its steps are long.
  std::function<double()> seconds_left = [] { return std::numeric_limits<double>::infinity(); };
  /// Called at each step, and between batches where nothing trains: whoever runs other runs beside this one looks after
  /// them meanwhile.
  std::function<void()> tick = [] {};
  /// Called between batches where nothing trains: throws Stopped where asked to.
  std::function<void()> end_if_stopped = [] {};
  /// Floating-point operations a second of one rank's matmuls (measure_matmul_rate); 0: not measured.
  double matmul_rate = 0;
  /// Where this rank reads what its node takes (EnergyMeter); empty where another rank does, or where other runs go on
  /// beside this one.
  std::filesystem::path energy_counters = {};
  /// What this rank's GPU has taken since some moment (GpuEnergyCounter); empty on the CPU, and as above.
  std::function<std::optional<double>()> gpu_joules = {};
  /// Among all ranks of the job the number of the first of `control`, whom the others follow: messages call a rank by
  /// its number there.
  int first_rank = 0;
  /// What a person can do where memory runs out: "a smaller --batch-size needs less"; empty: nothing that is known.
  std::string memory_advice = {};
};

/// Of a number of each rank. Collective: the same on every rank.
double sum_over_ranks(double value, const RunContext& context);

/// "stopped by a signal" or "stopped by the time limit".
inline const char* stop_text(const RunContext& context) {
  return context.time_is_up() ? "stopped by the time limit" : "stopped by a signal";
}

}  // namespace dtrain::train
