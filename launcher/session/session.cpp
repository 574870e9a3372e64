#include "launcher/session/session.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <fmt/format.h>
#include <mpi.h>

#include <chrono>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <functional>
#include <limits>

#include "base/error.h"
#include "dist/mpi/mpi_communicator.h"
#include "dist/mpi/mpi_mailbox.h"
#include "launcher/output_directory.h"
#include "launcher/session/agreement.h"
#include "launcher/session/backend.h"
#include "launcher/session/device.h"
#include "launcher/session/launch_variables.h"
#include "launcher/session/slurm_job.h"
#include "launcher/session/stop_signals.h"
#include "launcher/session/time_limit.h"
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

// A study may give each rank a trial of its own.
int most_ranks_per_gpu(const Options& options) {
  if (options.command != "compare" || ranks_per_trial(options).value_or(1) > 1) return 1;
  return trials_per_gpu(options).value_or(std::numeric_limits<int>::max());
}

std::string counted(int count, const char* noun) { return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s"); }

}  // namespace

Session::Session(const MpiEnvironment& environment, const Options& options)
    : log_(terminal_log(environment.rank())), memory_advice_(memory_advice(options)) {
  // These end at a step with a checkpoint; the other commands have nothing to save and end at once.
  const bool can_stop = options.command == "train" || options.command == "compare";
  if (can_stop) note_stop_signals();
  release_stop_signals();
  check_world_size(environment.size(), environment.variables_before());
  const auto timeout = milliseconds(options.comm_timeout);
  node_ = node_of_this_rank(timeout);
  control_ =
      environment.size() > 1 ? dist::make_mpi_communicator(MPI_COMM_WORLD, timeout) : dist::make_single_communicator();
  check_agreement(*control_, options);
  if (can_stop) limit_time(options);
  // Some of LibTorch's and oneDNN's sums depend on the number of threads. With virtual ranks a shard is computed by as
  // many whatever the number of ranks and of cores.
  const int fixed = options.training.virtual_ranks > 0 ? 1 : 0;
  cores_ = take_cores(*control_, node_.lowest_rank, options.threads > 0 ? options.threads : fixed);
  const DeviceChoice device = choose_device(*control_, node_.lowest_rank, options.device, most_ranks_per_gpu(options));
  device_ = device.device;
  if (device_.is_cuda()) device_guard_.emplace(device_);
  // "fp32" means it: cuDNN's LSTM (p-tuning's) would take TF32.
  at::globalContext().setAllowTF32CuDNN(false);
  precision_ = choose_precision(*control_, device_.is_cuda(), options.precision, resumed_run(options));
  is_gpu_shared_ = device.is_shared;
  if (!device.energy_of_gpu.empty()) gpu_energy_.emplace(device.energy_of_gpu);
  // NCCL does not join ranks that share a GPU: each trains trials of its own.
  const int joined = is_gpu_shared_ ? 1 : control_->size();
  gradients_ = make_backend(choose_backend(options.backend, joined, device_.is_cuda()), *control_, timeout);
}

std::unique_ptr<dist::Mailbox> Session::make_mailbox() const {
  control_->barrier();  // names a rank that does not come
  return control_->size() > 1 ? dist::make_mpi_mailbox(MPI_COMM_WORLD, control_->timeout())
                              : dist::make_single_mailbox();
}

train::RunContext Session::context() const {
  std::function<std::optional<double>()> gpu_joules;
  if (gpu_energy_) gpu_joules = [&counter = *gpu_energy_] { return counter.joules(); };
  const auto time_is_up = [stop_at = stop_at_] { return Clock::now() >= stop_at; };
  return {.control = *control_,
          .gradients = *gradients_,
          .device = device_,
          .matmul_type = precision_.name == "bf16" ? at::kBFloat16 : at::kFloat,
          .log = log_,
          .stop_requested = [time_is_up] { return stop_was_asked() || time_is_up(); },
          .time_is_up = time_is_up,
          .seconds_left = [end_at = end_at_] { return std::chrono::duration<double>(end_at - Clock::now()).count(); },
          .end_if_stopped =
              [time_is_up] {
                if (time_is_up()) throw Stopped("stopped by the time limit outside of a training step");
                if (stop_was_asked()) throw Stopped("stopped by a signal outside of a training step");
              },
          .energy_counters = control_->rank() == node_.lowest_rank ? "/sys/class/powercap" : "",
          .gpu_joules = gpu_joules,
          .memory_advice = memory_advice_};
}

void Session::have_loaded() const {
  const dist::TimeoutScope patience = dist::wait_for_files(*control_);
  const auto stopped = at::tensor({stop_was_asked() ? 1 : 0}, at::kInt);
  control_->all_reduce(stopped);
  if (stopped.item<int>() > 0) throw Stopped("stopped by a signal before there was anything to save");
}

void Session::have_ended() const {
  const dist::TimeoutScope patience = dist::wait_for_files(*control_);
  control_->barrier();
}

void Session::limit_time(const Options& options) {
  auto job = slurm_job(process_environment());
  // Asked once for all ranks, which wait for the answer below.
  constexpr std::chrono::seconds kPatience(10);
  const dist::TimeoutScope patience(*control_, control_->timeout() + 2 * kPatience);
  if (job && !job->end && control_->rank() == 0) job->end = squeue_end(job->id, kPatience);
  const auto limit = time_limit(options, job, std::time(nullptr));
  stop_plan_ = stop_plan_text(options, job, limit);
  constexpr double kNever = std::numeric_limits<double>::infinity();
  const auto seconds =
      at::tensor({limit ? limit->seconds - limit->reserve() : kNever, limit ? limit->seconds : kNever}, at::kDouble);
  control_->broadcast(seconds, 0);
  // From here on all ranks count alike: one that did not ask squeue would else be the first whose time is up.
  const auto begin = Clock::now();
  const auto after = [&](std::int64_t index) {
    const auto until = std::chrono::duration<double>(seconds[index].item<double>());
    return std::isfinite(until.count()) ? begin + std::chrono::duration_cast<Clock::duration>(until)
                                        : Clock::time_point::max();
  };
  stop_at_ = after(0);
  end_at_ = after(1);
}

std::string Session::description() const {
  const int ranks = control_->size();
  return fmt::format("{} (back end {}) on {}, {} each on {}, {} matmuls ({})", counted(ranks, "rank"),
                     gradients_->name(), device_.is_cuda() ? ranks == 1 ? "one GPU" : "GPUs" : "the CPU",
                     counted(cores_.threads, "thread"), counted(cores_.usable, "core"), precision_.name,
                     precision_.reason);
}

}  // namespace dtrain::launcher
