#include "launcher/session/session.h"

#include <ATen/Context.h>
#include <fmt/format.h>
#include <mpi.h>

#include <chrono>
#include <filesystem>

#include "base/error.h"
#include "dist/mpi/mpi_communicator.h"
#include "launcher/output_directory.h"
#include "launcher/session/agreement.h"
#include "launcher/session/backend.h"
#include "launcher/session/device.h"
#include "launcher/session/launch_variables.h"
#include "launcher/session/stop_signals.h"
#include "launcher/terminal_log.h"

namespace dtrain::launcher {
namespace {

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

// The directory of the run that is gone on with; empty: none is.
std::filesystem::path resumed_run(const Options& options) {
  if (!options.resume) return {};
  return options.command == "compare" ? study_output(options, {}) : std::filesystem::path(options.output);
}

std::string counted(int count, const char* noun) { return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s"); }

}  // namespace

Session::Session(const MpiEnvironment& environment, const Options& options) : log_(terminal_log(environment.rank())) {
  // These end at a step with a checkpoint; the other commands have nothing to save and end at once.
  if (options.command == "train" || options.command == "compare") note_stop_signals();
  check_world_size(environment.size(), process_environment());
  node_ = node_of_this_rank();
  const auto timeout = milliseconds(options.comm_timeout);
  control_ =
      environment.size() > 1 ? dist::make_mpi_communicator(MPI_COMM_WORLD, timeout) : dist::make_single_communicator();
  check_agreement(*control_, options);
  // Some of LibTorch's and oneDNN's sums depend on the number of threads. With virtual ranks a shard is computed by as
  // many whatever the number of ranks and of cores.
  const int fixed = options.training.virtual_ranks > 0 ? 1 : 0;
  cores_ = take_cores(*control_, node_.lowest_rank, options.threads > 0 ? options.threads : fixed);
  device_ = choose_device(*control_, node_.lowest_rank, options.device);
  if (device_.is_cuda()) device_guard_.emplace(device_);
  // "fp32" means it: cuDNN's LSTM (p-tuning's) would take TF32.
  at::globalContext().setAllowTF32CuDNN(false);
  precision_ = choose_precision(*control_, device_.is_cuda(), options.precision, resumed_run(options));
  const std::string backend = choose_backend(options.backend, control_->size(), device_.is_cuda());
  gradients_ = make_backend(backend, *control_, timeout);
}

train::RunContext Session::context() const {
  return {.control = *control_,
          .gradients = *gradients_,
          .device = device_,
          .matmul_type = precision_.name == "bf16" ? at::kBFloat16 : at::kFloat,
          .log = log_,
          .stop_requested = stop_was_asked,
          .end_if_stopped = [] {
            if (stop_was_asked()) throw Stopped("stopped by a signal outside of a training step");
          }};
}

std::string Session::description() const {
  const int ranks = control_->size();
  return fmt::format("{} (back end {}) on {}, {} each on {}, {} matmuls ({})", counted(ranks, "rank"),
                     gradients_->name(), device_.is_cuda() ? ranks == 1 ? "one GPU" : "GPUs" : "the CPU",
                     counted(cores_.threads, "thread"), counted(cores_.usable, "core"), precision_.name,
                     precision_.reason);
}

}  // namespace dtrain::launcher
