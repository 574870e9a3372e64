#include "launcher/session.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <mpi.h>
#include <sched.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "base/error.h"
#include "dist/mpi_communicator.h"
#include "dist/nccl_communicator.h"
#include "launcher/terminal_log.h"

namespace dtrain::launcher {
namespace {

// A signal handler can reach nothing but a global.
volatile std::sig_atomic_t stop_signal = 0;
void note_stop(int signal) { stop_signal = signal; }

bool started_by_a_launcher() {
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (std::getenv(variable) != nullptr) return true;
  }
  return false;
}

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

// Seconds of a product as the encoder has them, the best of a few.
double product_seconds() {
  const auto left = at::randn({512, 384});
  const auto right = at::randn({384, 1536});
  double best = 1e9;
  for (int i = 0; i < 6; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    at::mm(left, right);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

void set_cpu_products(at::Float32Precision precision) {
  at::globalContext().setFloat32Precision(at::Float32Backend::MKLDNN, at::Float32Op::MATMUL, precision);
}

}  // namespace

MpiEnvironment::MpiEnvironment(int* argc, char*** argv) {
  // A single process must start where OpenMPI's daemon is missing, too.
  if (!started_by_a_launcher()) setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
  int provided = 0;
  MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  std::signal(SIGTERM, note_stop);
  std::signal(SIGUSR1, note_stop);
}

MpiEnvironment::~MpiEnvironment() { MPI_Finalize(); }

int MpiEnvironment::agree_on_end(int exit_code, const std::string& message) const {
  using Clock = std::chrono::steady_clock;
  // The lowest rank that failed, and its code.
  const int mine = exit_code == 0 ? size_ : rank_;
  int first_failed = size_;
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Iallreduce(&mine, &first_failed, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD, &request);
  const auto deadline = Clock::now() + std::chrono::seconds(exit_code == 0 ? 86400 : 3);
  int done = 0;
  while (done == 0 && Clock::now() < deadline) {
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const std::string who = size_ > 1 && (done == 0 || first_failed != 0) ? fmt::format("rank {}: ", rank_) : "";
  if (exit_code != 0 && (done == 0 || first_failed == rank_)) print_error(who + message);
  // Some ranks still wait for this one in a collective.
  if (done == 0) MPI_Abort(MPI_COMM_WORLD, exit_code);
  if (first_failed < size_) MPI_Bcast(&exit_code, 1, MPI_INT, first_failed, MPI_COMM_WORLD);
  return exit_code;
}

Session::Session(const MpiEnvironment& environment, const Options& options) : log_(terminal_log(environment.rank())) {
  if (const char* tasks = std::getenv("SLURM_NTASKS"); tasks != nullptr && std::getenv("SLURM_PROCID") != nullptr) {
    if (std::atoi(tasks) != environment.size()) {
      throw UsageError(fmt::format(
          "SLURM started {} tasks, but MPI sees {} ranks: srun and OpenMPI do not speak the same PMI. Use srun "
          "--mpi=pmix, or mpirun inside the job.",
          tasks, environment.size()));
    }
  }
  MPI_Comm node = MPI_COMM_NULL;
  int local_rank = 0;
  int local_size = 1;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &local_rank);
  MPI_Comm_size(node, &local_size);
  MPI_Comm_free(&node);
  local_size_ = local_size;

  const auto timeout = milliseconds(options.comm_timeout);
  control_ =
      environment.size() > 1 ? dist::make_mpi_communicator(MPI_COMM_WORLD, timeout) : dist::make_single_communicator();
  check_agreement(options);
  place_on_cores(options, local_rank, local_size);
  choose_device(options, local_rank, local_size);
  choose_precision(options);

  const std::string automatic = environment.size() == 1 ? "single" : device_.is_cuda() ? "nccl" : "mpi";
  const std::string backend = options.backend == "auto" ? automatic : options.backend;
  if (backend == "single" && environment.size() > 1)
    throw UsageError(fmt::format("--backend single serves one rank, there are {}", environment.size()));
  if (backend == "mpi" && device_.is_cuda())
    throw UsageError("--backend mpi serves the CPU: a device pointer never goes into MPI. Use nccl.");
  if (backend == "nccl" && !device_.is_cuda())
    throw UsageError("--backend nccl serves GPUs, and this run is on the CPU");
  if (backend == "single") gradients_ = dist::make_single_communicator();
  if (backend == "mpi") gradients_ = dist::make_mpi_communicator(MPI_COMM_WORLD, timeout);
  if (backend == "nccl") gradients_ = dist::make_nccl_communicator(*control_, timeout);
}

void Session::check_agreement(const Options& options) const {
  // A digest is enough to see that ranks differ.
  const std::size_t digest = std::hash<std::string>()(options.command + options.resolved);
  const auto all = control_->all_gather(at::tensor({static_cast<std::int64_t>(digest)}, at::kLong));
  for (std::int64_t rank = 1; rank < all.size(0); ++rank) {
    if (all[rank].item<std::int64_t>() != all[0].item<std::int64_t>()) {
      throw UsageError(fmt::format(
          "rank {} was started with other options (or DTRAIN_ variables, or another --config) than rank 0; start all "
          "ranks alike",
          rank));
    }
  }
}

void Session::place_on_cores(const Options& options, int local_rank, int local_size) {
  // mpirun binds each of two ranks to one core, whatever the machine has. Unless the user asked for a binding, the
  // node's cores are shared out evenly.
  const bool user_bound = std::getenv("OMPI_MCA_hwloc_base_binding_policy") != nullptr &&
                          std::getenv("OMPI_MCA_hwloc_base_binding_policy") != std::string("none");
  cpu_set_t set;
  if (!user_bound) {
    std::memset(&set, 0xFF, sizeof set);
    sched_setaffinity(0, sizeof set, &set);  // the kernel keeps what the process may use
  }
  sched_getaffinity(0, sizeof set, &set);
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  const int share =
      user_bound ? static_cast<int>(cores.size()) : std::max(1, static_cast<int>(cores.size()) / local_size);
  threads_ = options.threads > 0 ? options.threads : share;
  cores_ = static_cast<int>(cores.size());
  if (!user_bound && local_size > 1 && static_cast<int>(cores.size()) >= local_size) {
    CPU_ZERO(&set);
    for (int i = 0; i < share; ++i) CPU_SET(cores[static_cast<std::size_t>(local_rank * share + i)], &set);
    sched_setaffinity(0, sizeof set, &set);
  }
  at::set_num_threads(threads_);
}

void Session::choose_device(const Options& options, int local_rank, int local_size) {
  const int gpus = at::globalContext().hasCUDA() ? static_cast<int>(at::detail::getCUDAHooks().deviceCount()) : 0;
  if (options.device == "cuda" && gpus == 0) throw UsageError("--device cuda: no GPU is visible here");
  if (options.device == "cpu" || gpus == 0) return;
  const bool shared = std::getenv("NCCL_MULTI_RANK_GPU_ENABLE") != nullptr;
  if (local_size > gpus && !shared) {
    throw UsageError(fmt::format("{} ranks on this node, but {} GPU{}: start one rank a GPU, or use --device cpu",
                                 local_size, gpus, gpus == 1 ? "" : "s"));
  }
  device_ = at::Device(at::kCUDA, static_cast<at::DeviceIndex>(local_rank % gpus));
  device_guard_.emplace(device_);
}

void Session::choose_precision(const Options& options) {
  precision_ = options.precision;
  precision_reason_ = "as asked";
  if (device_.is_cuda()) {
    if (precision_ == "auto") precision_ = "bf16";
    product_type_ = precision_ == "bf16" ? at::kBFloat16 : at::kFloat;
    return;
  }
  if (precision_ == "auto") {
    const double fp32 = product_seconds();
    set_cpu_products(at::Float32Precision::BF16);
    const double bf16 = product_seconds();
    // Every rank must choose alike: the first decides.
    const auto gain = at::tensor({fp32 / bf16}, at::kDouble);
    control_->broadcast(gain, 0);
    precision_ = gain[0].item<double>() > 1.2 ? "bf16" : "fp32";
    precision_reason_ = fmt::format("bf16 products are {:.1f}x as fast here", gain[0].item<double>());
  }
  set_cpu_products(precision_ == "bf16" ? at::Float32Precision::BF16 : at::Float32Precision::IEEE);
}

train::RunContext Session::context() const {
  return {*control_, *gradients_, device_, product_type_, log_, [] { return stop_signal != 0; }};
}

std::string Session::description() const {
  return fmt::format("{} rank{} ({}), {}, {} thread{} each, {}{}", control_->size(), control_->size() == 1 ? "" : "s",
                     gradients_->name(), device_.is_cuda() ? "one GPU each" : fmt::format("{} cores", cores_), threads_,
                     threads_ == 1 ? "" : "s", precision_,
                     precision_reason_.empty() ? "" : " (" + precision_reason_ + ")");
}

}  // namespace dtrain::launcher
