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
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.h"
#include "dist/mpi_communicator.h"
#include "dist/nccl_communicator.h"
#include "launcher/output_directory.h"
#include "launcher/terminal_log.h"

namespace dtrain::launcher {
namespace {

// A signal handler can reach nothing but a global.
volatile std::sig_atomic_t stop_signal = 0;
void note_stop(int signal) { stop_signal = signal; }

constexpr int kStopped = 75;

bool started_by_a_launcher() {
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (std::getenv(variable) != nullptr) return true;
  }
  return false;
}

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

// The first "option = value" of `lines` that `others` lacks.
std::string first_line_not_in(const std::string& others, const std::string& lines) {
  std::istringstream stream(lines);
  for (std::string line; std::getline(stream, line);) {
    if (others.find("\n" + line + "\n") == std::string::npos && !others.starts_with(line + "\n")) return line;
  }
  return "fewer options";
}

// How many times as fast as in fp32 a product as the encoder has them is in bf16: the best of a few of each, in turn,
// because another process may take the cores for a while.
double bf16_gain() {
  const auto seconds = [](at::ScalarType type) {
    const auto left = at::randn({512, 384}).to(type);
    const auto right = at::randn({384, 1536}).to(type);
    const auto begin = std::chrono::steady_clock::now();
    at::mm(left, right);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  double fp32 = 1e9;
  double bf16 = 1e9;
  for (int i = 0; i < 10; ++i) {
    fp32 = std::min(fp32, seconds(at::kFloat));
    bf16 = std::min(bf16, seconds(at::kBFloat16));
  }
  return fp32 / bf16;
}

// The precision that a run wrote into its config.ini; empty where there is none.
std::string precision_of_run(const std::filesystem::path& output) {
  std::ifstream config(output / "config.ini");
  constexpr std::string_view kKey = "precision = ";
  for (std::string line; std::getline(config, line);) {
    if (line.starts_with(kKey)) return line.substr(kKey.size());
  }
  return "";
}

}  // namespace

MpiEnvironment::MpiEnvironment(int* argc, char*** argv) {
  // A single process must start where OpenMPI's daemon is missing, too.
  if (!started_by_a_launcher()) setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
  int provided = 0;
  MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  // A file that outgrows a limit is an error of that write, not the end of the process.
  std::signal(SIGXFSZ, SIG_IGN);
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
  if (exit_code != 0 && (done == 0 || first_failed == rank_)) {
    if (exit_code == kStopped) print_notice(message);
    if (exit_code != kStopped) print_error(who + message);
  }
  // Some ranks still wait for this one in a collective.
  if (done == 0) MPI_Abort(MPI_COMM_WORLD, exit_code);
  if (first_failed < size_) MPI_Bcast(&exit_code, 1, MPI_INT, first_failed, MPI_COMM_WORLD);
  return exit_code;
}

Session::Session(const MpiEnvironment& environment, const Options& options) : log_(terminal_log(environment.rank())) {
  // These end at a step with a checkpoint; the other commands have nothing to save and end at once.
  if (options.command == "train" || options.command == "compare") {
    std::signal(SIGTERM, note_stop);
    std::signal(SIGUSR1, note_stop);
  }
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
  const std::string mine = fmt::format("command = {}\n{}resume = {}\noverwrite = {}\n", options.command,
                                       options.resolved, options.resume, options.overwrite);
  const auto bytes = at::empty({static_cast<std::int64_t>(mine.size())}, at::kByte);
  std::memcpy(bytes.mutable_data_ptr(), mine.data(), mine.size());
  const auto sizes = control_->all_gather(at::tensor({static_cast<std::int64_t>(mine.size())}, at::kLong));
  const auto all = control_->all_gather(bytes);
  std::string first;
  std::int64_t begin = 0;
  for (std::int64_t rank = 0; rank < sizes.size(0); ++rank) {
    const std::int64_t size = sizes[rank].item<std::int64_t>();
    const std::string theirs(static_cast<const char*>(all.const_data_ptr()) + begin, static_cast<std::size_t>(size));
    begin += size;
    if (rank == 0) first = theirs;
    if (theirs == first) continue;
    throw UsageError(
        fmt::format("the ranks were started with different options: {} on rank 0, {} on rank {}. Start all ranks with "
                    "the same command line, DTRAIN_ variables and --config.",
                    first_line_not_in(theirs, first), first_line_not_in(first, theirs), rank));
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
  if (precision_ == "auto" && options.resume) {
    // A run goes on as it began, whatever is faster this time.
    const auto run = options.command == "compare" ? study_output(options, {}) : std::filesystem::path(options.output);
    const std::string found = control_->rank() == 0 ? precision_of_run(run) : "";
    const auto earlier = at::tensor({found == "bf16" ? 1 : found == "fp32" ? 0 : -1}, at::kInt);
    control_->broadcast(earlier, 0);
    if (earlier.item<int>() >= 0) precision_ = earlier.item<int>() == 1 ? "bf16" : "fp32";
    precision_reason_ = "as before";
  }
  if (precision_ == "auto" && device_.is_cuda()) precision_ = "bf16";
  if (precision_ == "auto") {
    // Every rank must choose alike: the first decides.
    const auto gain = at::tensor({bf16_gain()}, at::kDouble);
    control_->broadcast(gain, 0);
    precision_ = gain[0].item<double>() > 1.2 ? "bf16" : "fp32";
    precision_reason_ = fmt::format("bf16 measured {:.1f}x as fast as fp32", gain[0].item<double>());
  }
  product_type_ = precision_ == "bf16" ? at::kBFloat16 : at::kFloat;
}

train::RunContext Session::context() const {
  return {*control_, *gradients_, device_, product_type_, log_, [] { return stop_signal != 0; }};
}

std::string Session::description() const {
  const int ranks = control_->size();
  const auto counted = [](int count, const char* noun) {
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
  };
  return fmt::format("{} (back end {}) on {}, {} each on {}, {} products ({})", counted(ranks, "rank"),
                     gradients_->name(), device_.is_cuda() ? ranks == 1 ? "one GPU" : "one GPU each" : "the CPU",
                     counted(threads_, "thread"), counted(cores_, "core"), precision_, precision_reason_);
}

}  // namespace dtrain::launcher
