#pragma once

#include <c10/core/Device.h>
#include <c10/core/DeviceGuard.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "dist/communicator.h"
#include "dist/mailbox.h"
#include "launcher/options.h"
#include "launcher/session/cores.h"
#include "launcher/session/mpi_environment.h"
#include "launcher/session/precision.h"
#include "train/gpu_energy.h"
#include "train/run_context.h"

namespace dtrain::launcher {

/// What a command runs on: the ranks, this rank's device and cores. For train and compare SIGTERM and SIGUSR1 are
/// noted, and their time is limited; the context's `stop_requested` tells. Each part is chosen by a file of its own in
/// this folder.
class Session {
 public:
  /// Collective. Throws UsageError for a world size that is not that of the launcher, more ranks than GPUs on a node, a
  /// back end that does not serve the device, or ranks that disagree on the options.
  Session(const MpiEnvironment& environment, const Options& options);

  train::RunContext context() const;
  const Log& log() const { return log_; }
  /// What train and compare do on a signal and at their time limit, in a line; empty where there is nothing to say.
  const std::string& stop_plan() const { return stop_plan_; }
  /// One line on what the run runs on.
  std::string description() const;
  /// "fp32" or "bf16": as asked, as the run that is resumed began, or what this machine computes faster.
  const std::string& precision() const { return precision_.name; }
  int threads() const { return cores_.threads; }
  const Cores& cores() const { return cores_; }
  dist::Communicator& control() const { return *control_; }
  /// Whether ranks share a GPU, and none can train together.
  bool is_gpu_shared() const { return is_gpu_shared_; }
  /// Collective.
  std::unique_ptr<dist::Mailbox> make_mailbox() const;
  /// After a part of what a command loads: waits for the ranks whose disks are slower, ten times as long as for a
  /// collective, and throws Stopped on all where one got a signal that is noted. Not at the time limit: a start whose
  /// loading takes all of its time makes a step, or the next one would be no further. Collective.
  void have_loaded() const;
  /// After a command: waits for the ranks as have_loaded does, so that one that stands still at the end is named, too.
  /// Collective.
  void have_ended() const;
  /// Ranks on this node.
  int local_size() const { return node_.size; }
  /// The lowest of them.
  int lowest_local_rank() const { return node_.lowest_rank; }

 private:
  // Agreed by all ranks, whose clocks may differ.
  void limit_time(const Options& options);

  using Clock = std::chrono::steady_clock;
  Log log_;
  std::string memory_advice_;
  Node node_;
  std::string stop_plan_;
  Clock::time_point stop_at_ = Clock::time_point::max();
  Clock::time_point end_at_ = Clock::time_point::max();
  std::unique_ptr<dist::Communicator> control_;
  std::unique_ptr<dist::Communicator> gradients_;
  Cores cores_;
  at::Device device_ = at::Device("cpu");
  bool is_gpu_shared_ = false;
  std::optional<train::GpuEnergyCounter> gpu_energy_;  // where this rank reads it
  std::optional<c10::OptionalDeviceGuard> device_guard_;
  Precision precision_;
};

}  // namespace dtrain::launcher
