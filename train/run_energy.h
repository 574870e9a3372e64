#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <string>

#include "train/energy_meter.h"
#include "train/run_context.h"

namespace dtrain::train {

/// NaN and empty where it is not known.
struct Energy {
  double joules = std::numeric_limits<double>::quiet_NaN();
  /// What took them: "cpu" (the nodes' processor packages and memory), "gpu" (the ranks' GPUs) or "cpu+gpu".
  std::string of;
};

/// The energy of one run, without its pauses, by the counters that its context names.
class RunEnergy {
 public:
  /// The run begins.
  explicit RunEnergy(const RunContext& context);
  RunEnergy(const RunEnergy&) = delete;
  RunEnergy& operator=(const RunEnergy&) = delete;

  /// To be called at each step (EnergyMeter::tick).
  void tick() { meter_.tick(); }
  /// What follows, up to go_on, does not count.
  void pause();
  void go_on();
  /// Of all ranks' counters. Not known where one of the processors' does not tell; in a run on GPUs where one of theirs
  /// does not, and then without the processors where those do not. Collective.
  Energy taken();

 private:
  struct Source {
    std::function<std::optional<double>()> joules;  // since some moment; empty where this rank does not read
    bool is_silent = false;
    double left_out = 0;
    double at_pause = 0;

    double read();
    // Of all ranks'; NaN where one is silent, or none reads. Collective.
    double taken(const RunContext& context);
  };

  const RunContext& context_;
  EnergyMeter meter_;
  Source processors_;
  Source gpu_;
};

}  // namespace dtrain::train
