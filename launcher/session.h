#pragma once

#include <c10/core/Device.h>
#include <c10/core/DeviceGuard.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "dist/communicator.h"
#include "launcher/options.h"
#include "train/run_context.h"

namespace dtrain::launcher {

/// The rank that a launcher started this process as, known before MPI is; nothing: it was started alone.
std::optional<std::string> launched_rank();

/// MPI from its initialisation to its end: every process makes one, first of all.
class MpiEnvironment {
 public:
  MpiEnvironment(int* argc, char*** argv);
  ~MpiEnvironment();
  MpiEnvironment(const MpiEnvironment&) = delete;
  MpiEnvironment& operator=(const MpiEnvironment&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  /// Every rank ends here with its own outcome (exit code 0 and no message where all went well). Where all come, the
  /// first that failed prints; where some do not come in time, whoever failed prints and ends the job. Returns the exit
  /// code of the process.
  int agree_on_end(int exit_code, const std::string& message) const;

 private:
  int rank_ = 0;
  int size_ = 1;
};

/// What a command runs on: the ranks, this rank's device and cores. For train and compare SIGTERM and SIGUSR1 are
/// noted, and the context's `stop_requested` tells.
class Session {
 public:
  /// Collective. Throws UsageError for a world size that is not that of srun's step, more ranks than GPUs on a node, a
  /// back end that does not serve the device, or ranks that disagree on the options.
  Session(const MpiEnvironment& environment, const Options& options);

  train::RunContext context() const;
  const Log& log() const { return log_; }
  /// One line on what the run runs on.
  std::string description() const;
  /// "fp32" or "bf16": as asked, as the run that is resumed began, or what this machine computes faster.
  const std::string& precision() const { return precision_; }
  int threads() const { return threads_; }
  dist::Communicator& control() const { return *control_; }
  /// Ranks on this node.
  int local_size() const { return local_size_; }

 private:
  void place_on_cores(const Options& options);
  void choose_device(const Options& options);
  void choose_backend(const Options& options);
  void choose_precision(const Options& options);
  void check_agreement(const Options& options) const;
  // What each rank says, in the order of the ranks.
  std::vector<std::string> gather_texts(const std::string& mine) const;

  Log log_;
  std::unique_ptr<dist::Communicator> control_;
  std::unique_ptr<dist::Communicator> gradients_;
  at::Device device_ = at::Device("cpu");
  std::optional<c10::OptionalDeviceGuard> device_guard_;
  int threads_ = 1;
  int cores_ = 1;
  int node_ = 0;  // the lowest rank on this node
  int local_size_ = 1;
  std::string precision_ = "fp32";
  std::string precision_reason_;
  at::ScalarType product_type_ = at::kFloat;
};

}  // namespace dtrain::launcher
